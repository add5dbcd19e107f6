"""Repositories written by DVC: every version comes over, byte for byte."""

from pathlib import Path

import pytest
from dvc_data.hashfile.hash import file_md5
from fsspec.implementations.local import LocalFileSystem

from dataver.hashing.checksums import hasher

TEXTS = {
    "unix": b"a\nb\n" * 300_000,
    "dos": b"a,b\r\n" * 300_001,
    "empty": b"",
    "only line ends": b"\r\n" * 200,
    "lone returns": b"\r" * 513,
    "binary": b"\0\r\n" * 400,
    "others": bytes(range(128, 256)) * 2 + b"\r\n" * 400,
    "late zero": b"text\r\n" * 200 + b"\0",
}


@pytest.mark.parametrize("algorithm", ["md5", "md5-dos2unix"])
def test_checksums_are_those_of_dvc(tmp_path: Path, algorithm: str) -> None:
    """Of texts and of other files, whatever the blocks."""
    path = tmp_path / "file"
    for name, data in TEXTS.items():
        path.write_bytes(data)
        for block in (len(data) or 1, 7777):
            ours = hasher(algorithm, len(data))
            for at in range(0, len(data), block):
                ours.update(data[at : at + block])
            assert ours.hexdigest() == file_md5(str(path), LocalFileSystem(), name=algorithm), name
