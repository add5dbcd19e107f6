"""Headers that state more than they should: what a cheap profile may read."""

import io
import struct
import zlib

import pytest

from dataver.profiles.kinds import kind_of, make_profile


def _png(length: int) -> bytes:
    header = struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", length) + b"zzZz"


def _tiff(length: int) -> bytes:
    fields = (256, 4, 1, 10), (257, 4, 1, 10), (700, 1, length, 100)
    return b"II*\0\x08\0\0\0\3\0" + b"".join(struct.pack("<HHII", *each) for each in fields) + bytes(4)


_LONG = 300 << 20  # bytes of a header, all of which the file has


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("a.webp", b"RIFF" + struct.pack("<I", _LONG) + b"WEBPVP8 ", b""),
        ("a.png", _png(_LONG), b""),
        ("a.tiff", _tiff(_LONG), b""),
        ("a.parquet", b"PAR1", struct.pack("<I", _LONG) + b"PAR1"),
        ("a.arrow", b"ARROW1\0\0", struct.pack("<i", _LONG) + b"ARROW1"),
        ("a.csv.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (5 << 20), b""),  # a name without an end
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cheap_profile_of_a_long_header_reads_little(tmp_path, name, head, tail):
    """Its file has no cheap profile, and costs `finalize` neither time nor memory."""
    read = []

    class Counting(io.FileIO):
        def read(self, size=-1):
            read.append(data := super().read(size))
            return data

        def readinto(self, buffer):
            read.append(bytes(buffer))
            return super().readinto(buffer)

    class File:
        sampled = True

        def __init__(self):
            self.name, self.size = name, path.stat().st_size

        def open(self):
            return Counting(path)

        def path(self):
            raise AssertionError("a cheap profile needs no local copy")

    path = tmp_path / name
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + _LONG)  # sparse
        file.seek(0, 2)
        file.write(tail)
    assert make_profile(kind_of(name), File(), full=False) is None
    assert sum(map(len, read)) < 5 << 20
