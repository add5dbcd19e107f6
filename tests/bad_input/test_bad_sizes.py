"""Nothing at all, very much, very many, very deep."""

import contextlib
import os
import tracemalloc

import pytest

import dataver
from dataver.errors import IntegrityError, InvalidInput
from dataver.hashing import digest

from .conftest import contents


def test_nothing_is_something(repo, tmp_path):
    """Zero-byte files and empty folders, alone and nested, come back with the digest and size of nothing."""
    top = tmp_path / "little"
    (top / "empty" / "deeper").mkdir(parents=True)
    (top / "beside").mkdir()
    (top / "zero").touch()
    (top / "beside" / "zero").touch()
    version = repo.sync(top, "d").version
    assert (version.file_count, version.size) == (2, 0)
    assert version.entry("zero").digest == digest(b"")
    assert version.read("zero") == b""
    for path in (repo.fetch("d").path, repo.fetch("d", dest=tmp_path / "own").path):
        assert {each.relative_to(path).as_posix() for each in path.rglob("*")} == {
            "beside",
            "beside/zero",
            "empty",
            "empty/deeper",
            "zero",
        }
    assert repo.verify("d").ok and repo.verify_folder("d", top).ok
    assert not (tmp_path / "repo" / "packs").exists()


def test_an_empty_folder_makes_no_version_by_itself(repo, tmp_path):
    """There is nothing to publish, which is said; allowed on purpose, it can be fetched."""
    (tmp_path / "little").mkdir()
    with pytest.raises(InvalidInput, match="holds no files"):
        repo.sync(tmp_path / "little", "d")
    draft = repo.create("d")
    assert draft.add(tmp_path / "little").files == 0
    with pytest.raises(InvalidInput, match="changes nothing"):
        draft.finalize()
    draft.finalize(allow_empty=True)
    assert draft.upload().version.file_count == 0
    assert list(repo.fetch("d").path.iterdir()) == []
    assert repo.verify("d").ok


def make_deep(top, parts, name, data):
    """Write a file at a path that is longer than the system takes at once."""
    here = os.open(top, os.O_RDONLY)
    for part in parts:
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here)
    os.write(fd, data)
    os.close(fd)
    os.close(here)


def read_deep(top, parts, name):
    here = os.open(top, os.O_RDONLY)
    for part in parts:
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open(name, os.O_RDONLY, dir_fd=here)
    data = os.read(fd, 100)
    os.close(fd)
    os.close(here)
    return data


@pytest.fixture
def deep(tmp_path):
    """A folder beside a path of 4,096 bytes, and that path's parts."""
    top = tmp_path / "deep"
    top.mkdir()
    (top / "good").write_text("good")
    parts = [f"{number:02d}" + "d" * 198 for number in range(20)]
    name = "f" * (4096 - sum(len(part) + 1 for part in parts))
    make_deep(top, parts, name, b"deep")
    yield top, parts, name
    from dataver.machine.deep_folders import remove_folder

    remove_folder(top)
    for left in (tmp_path / "own", tmp_path / "cache"):
        remove_folder(left)


def test_a_path_of_4096_bytes_is_stored_or_named_never_lost(repo, deep, monkeypatch):
    """Where the system cannot reach it at once it is refused by name, and everything else is added."""
    top, parts, name = deep
    report = repo.sync(top, "d")
    paths = [entry.path for entry in report.version.entries()]
    assert "good" in paths
    whole = "/".join([*parts, name])
    assert len(whole) == 4096
    if whole in paths:
        assert report.version.read(whole) == b"deep"
    else:
        assert len(report.add.problems) == 1
        assert "too long" in report.add.problems[0][1]


def test_a_path_that_can_just_be_reached_makes_the_round_trip(repo, deep, tmp_path, monkeypatch):
    """4,090 bytes from the working folder: added, fetched to both kinds of folder, verified."""
    top, parts, name = deep
    monkeypatch.chdir(top)
    os.rename(parts[0], "r")  # a shorter first part
    report = repo.sync(".", "d", workspace=tmp_path)
    path = "/".join(["r", *parts[1:], name])
    assert 3800 < len(path) < 4094
    assert report.add.problems == []
    assert report.version.read(path) == b"deep"
    assert read_deep(repo.fetch("d").path, path.split("/")[:-1], name) == b"deep"
    assert read_deep(repo.fetch("d", dest=tmp_path / "own").path, path.split("/")[:-1], name) == b"deep"
    assert repo.verify("d").ok


def test_a_folder_of_many_files_comes_back(repo, tmp_path):
    """Three thousand files in one folder, more than a tree block holds."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(3000):
        (top / f"{number:06d}").write_bytes(b"%d" % number)
    version = repo.sync(top, "d").version
    assert version.file_count == 3000
    assert contents(repo.fetch("d").path) == contents(top)


@pytest.mark.slow
def test_a_hundred_thousand_files_in_one_folder(repo, tmp_path):
    """Added, changed by one, compared, fetched and verified; the change costs a few blocks."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(100_000):
        (top / f"{number:06d}").write_bytes(b"%d" % number)
    assert repo.sync(top, "d").version.file_count == 100_000
    (top / "050000").write_bytes(b"changed")
    report = repo.sync(top, "d")
    assert report.upload.blocks <= 3
    assert [change.path for change in repo.diff("d@1.0.0", "d@1.0.1").modified] == ["050000"]
    path = repo.fetch("d").path
    assert sum(1 for _ in os.scandir(path)) == 100_000
    assert repo.verify_folder("d", path).ok
    assert (path / "050000").read_bytes() == b"changed"


@pytest.mark.slow
def test_a_sparse_file_of_five_gigabytes(repo, tmp_path):
    """Its zeros are stored once, its few bytes are found again, and both ends are read without the middle."""
    big = tmp_path / "big"
    big.mkdir()
    size = 5 * 1024**3 + 3
    with (big / "sparse").open("wb") as file:
        file.truncate(size)
        file.seek(3 * 1024**3)
        file.write(b"in the middle")
    version = repo.sync(big, "d").version
    assert version.size == size
    stored = sum(path.stat().st_size for path in (tmp_path / "repo").rglob("*") if path.is_file())
    assert stored < 10_000_000
    from dataver.checkout import read_file

    entry = version.entry("sparse")
    opened = dataver.open(tmp_path / "repo")._core
    assert b"".join(read_file(opened, entry, 3 * 1024**3, 13)) == b"in the middle"
    assert b"".join(read_file(opened, entry, size - 3, 3)) == bytes(3)
    assert repo.verify("d", quick=True).ok


def test_an_object_that_is_far_too_long_is_refused_unread(repo, tmp_path):
    """Three sparse gigabytes under the name of a small object are refused by size, without being read."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "f").write_text("content")
    repo.sync(tmp_path / "s", "d")
    repo.tag("d@1.0.0", "prod")
    root = tmp_path / "repo"
    hold = root / "keeping" / "holds" / f"{'a' * 32}.json"
    hold.parent.mkdir(parents=True, exist_ok=True)
    hold.write_text("{}")
    uses = {
        root / "dataver.json": lambda: dataver.open(root),
        root / "datasets/d/versions/1.0.0.json": lambda: dataver.open(root).version("d@1.0.0"),
        next(path for path in (root / "trees").rglob("*") if path.is_file()): lambda: list(
            dataver.open(root).version("d@1.0.0").entries()
        ),
        root / "datasets/d/tags/prod/00000001.json": lambda: dataver.open(root).version("d@prod"),
        hold: lambda: dataver.open(root).plan_gc(),
    }
    for path, use in uses.items():
        good = path.read_bytes()
        path.chmod(0o644)
        os.truncate(path, 3 << 30)
        tracemalloc.start()
        with contextlib.suppress(IntegrityError):  # a hold that cannot be read counts, and is no error
            use()
            assert path is hold
        assert tracemalloc.get_traced_memory()[1] < 50 << 20, path
        tracemalloc.stop()
        path.write_bytes(good)
