"""Profiles of archives: listed and never unpacked, however they lie."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import pytest

from .sources import profile


def zipped(names: list[str], size: int = 10) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, bytes(size))
    return data.getvalue()


def tarred(names: list[str], mode: str = "w", size: int = 10) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
def test_tar_files_of_each_compression(name: str, mode: str):
    found = profile(name, tarred(["x/1", "x/2"], mode))
    assert (found["count"], found["size"], found["members"]) == (2, 20, [["x/1", 10], ["x/2", 10]])


def test_zip_files_are_listed_in_cheap_profiles_too():
    data = zipped([f"{number}" for number in range(300)])
    for full in (True, False):
        found = profile("a.zip", data, full=full)
        assert (found["count"], found["size"], len(found["members"])) == (300, 3000, 200)


def test_bombs_are_listed_and_not_unpacked():
    found = profile("a.zip", zipped(["zeros"], 20 << 20))
    assert (found["size"], found["members"]) == (20 << 20, [["zeros", 20 << 20]])


def test_a_compressed_header_of_gigabytes_is_refused():
    """A tar file may state a header of any length, which `tarfile` would read into memory."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 64 << 20
    data = gzip.compress(member.tobuf() + bytes(64 << 20))
    tracemalloc.start()
    try:
        assert "a header of 67,108,864 bytes" in profile("a.tar.gz", data)["problem"]
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_what_was_cut_says_so():
    assert "cut" in profile("a.zip", zipped(["a", "b"])[:-30])["problem"]
    for data in (b"", b"PK", tarred(["a", "b"], "w:gz")[:-40], b"x" * 5000):
        assert profile("a.tar.gz", data)["problem"]
    found = profile("a.tar", tarred(["a", "b", "c"], size=5000)[:9000])
    assert found["count"] >= 1 and "cut" in found["problem"]


def test_a_listing_that_is_too_long_is_not_read():
    data = bytearray(zipped(["a"]))
    place = data.rindex(b"PK\5\6") + 12
    data[place : place + 4] = (1 << 30).to_bytes(4, "little")
    assert "too long" in profile("a.zip", bytes(data))["partial"]


def test_a_listing_with_64_bit_numbers_is_measured_by_them(monkeypatch):
    """The other numbers, which may lie, are not used by `zipfile` then."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)  # as from 65,536 members on
    data = zipped([f"{number}" for number in range(300)])
    assert b"PK\6\7" in data
    found = profile("a.zip", data)
    assert (found["count"], len(found["members"])) == (300, 200)
    lying = bytearray(data)
    place = lying.rindex(b"PK\5\6")
    lying[place - 36 : place - 28] = (1 << 40).to_bytes(8, "little")
    assert "1,099,511,627,776 bytes is too long" in profile("a.zip", bytes(lying))["partial"]


def test_names_that_are_no_text_are_shown_without_harm():
    found = profile("a.tar", tarred(["\udcff" * 50 + "x" * 500]))
    assert len(found["members"][0][0]) == 200
