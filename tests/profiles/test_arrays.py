"""Profiles of arrays, from the headers that NumPy and safetensors write, and from lies."""

import io
import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from .sources import profile


def npy(array: np.ndarray, **options) -> bytes:
    data = io.BytesIO()
    np.save(data, array, **options)
    return data.getvalue()


def test_numpy():
    found = profile("x.npy", npy(np.zeros((3, 4), np.float32)))
    assert found["arrays"] == [{"name": "", "shape": [3, 4], "dtype": "<f4"}]
    record = np.zeros(5, [("ä", "i4"), ("b", "U3")])
    (one,) = profile("x.npy", npy(record))["arrays"]
    assert one["shape"] == [5] and "'ä', '<i4'" in one["dtype"]
    assert profile("x.npy", npy(np.array([{}], object), allow_pickle=True))["arrays"][0]["dtype"] == "|O"
    data = io.BytesIO()
    np.savez_compressed(data, a=np.zeros(3, np.int8), b=np.zeros((2, 2)))
    found = profile("x.npz", data.getvalue(), full=False)
    assert [(each["name"], each["shape"]) for each in found["arrays"]] == [("a", [3]), ("b", [2, 2])]


def test_safetensors():
    data = save({"w": np.zeros((8, 2), np.float16), "b": np.zeros(8, np.float16)}, {"format": "pt"})
    found = profile("model.safetensors", data)
    assert {each["name"]: (each["shape"], each["dtype"]) for each in found["arrays"]} == {
        "w": ([8, 2], "F16"),
        "b": ([8], "F16"),
    }
    many = save({f"layer.{number}": np.zeros(1, np.int8) for number in range(1500)})
    found = profile("model.safetensors", many)
    assert (found["count"], len(found["arrays"]), "partial" in found) == (1500, 1000, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\2\0" + (2**31).to_bytes(4, "little"),
        npy(np.zeros(100))[:-1],
        npy(np.zeros(1)).replace(b"(1,)", b"[9]*"),
        npy(np.zeros(1)).replace(b"'<f8'", b"9**99"),
        b"\x93NUMPY\1\0" + (9000).to_bytes(2, "little") + b"(" * 9000,
    ],
)
def test_lies_in_numpy_headers(data: bytes):
    """A header is parsed as literals, never evaluated, and compared with the size of the file."""
    assert profile("x.npy", data)["problem"]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[" * 100_000,
        json.dumps({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode(),
        json.dumps({"w": {"dtype": "F32"}}).encode(),
        b"[]",
    ],
)
def test_lies_in_safetensors_headers(header: bytes):
    assert profile("x.safetensors", len(header).to_bytes(8, "little") + header)["problem"]
    assert "states" in profile("x.safetensors", (2**60).to_bytes(8, "little") + header)["problem"]


def test_a_member_of_an_npz_file_that_unpacks_to_gigabytes_is_not_unpacked():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(npy(np.zeros(1)).replace(b"(1,)", b"(9,)"))
        for _ in range(50):
            member.write(bytes(1 << 20))
    assert profile("x.npz", data.getvalue())["arrays"][0]["shape"] == [9]
