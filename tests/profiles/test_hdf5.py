"""Profiles of HDF5 files that h5py writes, and of damaged ones."""

import io
import random

import h5py
import numpy as np

from .sources import profile


def hdf5(fill) -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        fill(file)
    return data.getvalue()


def several(file: h5py.File) -> None:
    file["x"] = np.zeros((100, 200), "f4")
    file.create_dataset("g/deep/y", data=np.arange(100_000), chunks=(1000,), compression="gzip")
    file["names"] = np.array(["a", "bb"], h5py.string_dtype())
    file.create_dataset("lists", (2,), h5py.vlen_dtype("i4"))
    file["rows"] = np.zeros(3, [("a", "i4"), ("b", "f8")])
    file["scalar"] = 1.5
    file["nothing"] = h5py.SoftLink("/none")
    file["g/loop"] = file["/"]


def test_the_datasets_of_all_groups_have_their_shapes_and_types():
    """Groups in a circle are entered once, and a link to nothing is no dataset."""
    found = profile("x.h5", hdf5(several))
    assert {each["name"]: (each["shape"], each["dtype"]) for each in found["arrays"]} == {
        "x": ([100, 200], "float32"),
        "names": ([2], "text"),
        "lists": ([2], "lists of int32"),
        "rows": ([3], "[('a', '<i4'), ('b', '<f8')]"),
        "scalar": ([], "float64"),
        "g/deep/y": ([100_000], "int64"),
    }
    assert (found["kind"], found["count"]) == ("array", 6)
    assert profile("x.hdf5", hdf5(several), full=False)["arrays"] == found["arrays"]


def test_a_thousand_datasets_are_named():
    """A file with more says that it has more."""

    def fill(file: h5py.File) -> None:
        for number in range(1200):
            file[f"many/d{number}"] = np.zeros(1)

    found = profile("x.h5", hdf5(fill))
    assert (len(found["arrays"]), found["partial"]) == (1000, "only 1,000 of its datasets are named")


def test_what_cannot_be_read_is_a_problem():
    """External links, other files, and files with flipped bytes or a cut end never fail."""
    external = hdf5(lambda file: file.__setitem__("e", h5py.ExternalLink("/etc/passwd", "/")))
    assert "a part of HDF5 that cannot be read" in profile("x.h5", external)["problem"]
    assert "does not begin as an HDF5 file does" in profile("x.h5", b"CDF\1")["problem"]
    data, noise = hdf5(several), random.Random(7)
    for number in range(300):
        damaged = bytearray(data[: noise.randrange(1, 6000)] if number % 3 == 0 else data)
        for _ in range(noise.randrange(1, 9)):
            damaged[noise.randrange(min(len(damaged), 6000))] = noise.randrange(256)
        found = profile("x.h5", bytes(damaged))
        assert "problem" in found or "arrays" in found
