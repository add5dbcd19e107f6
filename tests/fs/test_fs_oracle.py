"""A version seen through the file system is the folder it was made from, seen through fsspec's local one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataver
from dataver.fs import DataverFileSystem
from properties import examples

NAMES = st.sampled_from(["a", "b", "a-b", "a.txt", "b.csv", "ä ö", "x[1]", "zz"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
CONTENTS = st.one_of(st.binary(max_size=40), st.sampled_from([b"line\n" * 9_000, bytes(range(256)) * 1_200]))
TREES = st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=12)
LINKS = st.dictionaries(PATHS, st.sampled_from(["a", "b", "../a", "a/b", "gone", "../../x", "."]), max_size=3)
GLOBS = st.lists(
    st.sampled_from(["*", "**", "a", "b*", "?", "*.txt", "[ab]", "[!a]*", "a-b"]), min_size=1, max_size=4
).map("/".join)


class Both:
    """One tree twice: a folder on the disk, and a version of it."""

    def __init__(self, home: Path, files: dict[str, bytes], links: dict[str, str]) -> None:
        self.folder = home / "folder"
        self.folder.mkdir()
        for path, content in files.items():
            self._make(path, lambda file, content=content: file.write_bytes(content))
        for path, target in links.items():
            self._make(path, lambda file, target=target: file.symlink_to(target))
        self.repo = dataver.init(home / "repo")
        version = self.repo.sync(self.folder, "the/set", workspace=home / "work").version
        assert version is not None
        kept = {entry.path for entry in version.entries()}
        for path in [*self.folder.rglob("*")]:  # links that lead out of the folder are not in a version
            if path.is_symlink() and path.relative_to(self.folder).as_posix() not in kept:
                path.unlink()
                self._prune(path.parent)
        self.root = version.ref
        self.fs = DataverFileSystem(repo=self.repo.url)
        self.local = LocalFileSystem()

    def _make(self, path: str, make: Any) -> None:
        file = self.folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            make(file)
        except OSError:
            return  # a path of a file or below one

    def _prune(self, folder: Path) -> None:
        """Remove folders that held nothing but such links, as the version has none of them."""
        while folder != self.folder and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def ours(self, path: str) -> str:
        return f"{self.root}/{path}".rstrip("/")

    def theirs(self, path: str) -> str:
        return f"{self.folder}/{path}".rstrip("/")

    def names(self, found: Any, *, local: bool) -> list[str]:
        """Return names as they are in the tree."""
        cut = len(str(self.folder)) if local else len(self.root)
        return sorted(name[cut:] for name in found)

    def paths(self) -> list[str]:
        return ["", *(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))]


def outcome(call: Any, *arguments: Any, **named: Any) -> Any:
    """Return what a call returns, or the kind of its error."""
    try:
        return call(*arguments, **named)
    except OSError as error:
        kinds = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
        missing = (
            isinstance(error, (FileNotFoundError, NotADirectoryError)) or error.errno == 40
        )  # a ring of links
        return "missing" if missing else next((kind for kind in kinds if isinstance(error, kind)), error)


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    yield
    DataverFileSystem.clear_instance_cache()


@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(files=TREES, links=LINKS, globs=st.lists(GLOBS, min_size=3, max_size=6), data=st.data())
def test_a_version_is_its_folder(
    files: dict[str, bytes], links: dict[str, str], globs: list[str], data: st.DataObject
) -> None:
    """Names, kinds and bytes agree: ls, info, find, walk, glob, cat, cat_ranges, open, seek, readinto."""
    with tempfile.TemporaryDirectory() as home:
        both = Both(Path(home), files, links)
        paths = both.paths()
        for path in [*paths, "gone", "a/gone/too"]:
            _same_names(both, path)
        for depth in (None, 1, 2):
            for dirs in (False, True):
                there = both.local.find(both.theirs(""), maxdepth=depth, withdirs=dirs)
                here = both.fs.find(both.ours(""), maxdepth=depth, withdirs=dirs)
                assert both.names(here, local=False) == both.names(there, local=True)
        walked = [(at, sorted(dirs), sorted(names)) for at, dirs, names in both.fs.walk(both.ours(""))]
        expected = [(at, sorted(dirs), sorted(names)) for at, dirs, names in both.local.walk(both.theirs(""))]
        assert sorted((at[len(both.root) :], *rest) for at, *rest in walked) == sorted(
            (at[len(str(both.folder)) :], *rest) for at, *rest in expected
        )
        for pattern in globs:
            here, there = both.fs.glob(both.ours(pattern)), both.local.glob(both.theirs(pattern))
            assert both.names(here, local=False) == both.names(there, local=True), pattern
        regular = [path for path in paths if (both.folder / path).is_file()]
        if regular:
            _same_bytes(both, regular, data)


def _same_names(both: Both, path: str) -> None:
    here, there = outcome(both.fs.info, both.ours(path)), outcome(both.local.info, both.theirs(path))
    if isinstance(there, dict):
        assert here["type"] == there["type"], path
        assert here["islink"] == there["islink"]
        assert here.get("destination") == there.get("destination")
        if there["type"] == "file":
            assert here["size"] == there["size"]
    else:
        assert here == there, path
    for question in ("exists", "isfile", "isdir", "lexists"):
        mine = getattr(both.fs, question)(both.ours(path))
        assert mine == getattr(both.local, question)(both.theirs(path)), (question, path)
    listed, expected = (
        outcome(both.fs.ls, both.ours(path)),
        outcome(both.local.ls, both.theirs(path), detail=True),
    )
    if not isinstance(expected, list):
        assert listed == expected, path
        return
    mine = {one["name"][len(both.root) :]: one for one in listed}
    theirs = {one["name"][len(str(both.folder)) :]: one for one in expected}
    assert set(mine) == set(theirs)
    for name, one in theirs.items():
        if one["islink"] and one["type"] == "other":  # of a link to a file we say what it leads to
            assert mine[name]["type"] in ("other", "file")
        else:
            assert mine[name]["type"] == one["type"]
        if mine[name]["type"] == "file":
            assert mine[name]["size"] == one["size"]


def _same_bytes(both: Both, regular: list[str], data: st.DataObject) -> None:
    bounds = st.one_of(st.none(), st.integers(-50, 400_000))
    here = outcome(both.fs.cat, [both.ours(path) for path in regular])
    there = outcome(both.local.cat, [both.theirs(path) for path in regular])
    if isinstance(there, dict):
        assert {name[len(both.root) :]: content for name, content in here.items()} == {
            name[len(str(both.folder)) :]: content for name, content in there.items()
        }
    else:  # `cat` takes a name such as x[1] for a pattern
        assert here == there
    for path in regular:
        assert both.fs.cat_file(both.ours(path)) == (both.folder / path).read_bytes()
    chosen = data.draw(st.lists(st.tuples(st.sampled_from(regular), bounds, bounds), min_size=1, max_size=6))
    names, starts, ends = (list(column) for column in zip(*chosen, strict=True))
    ranges = both.fs.cat_ranges([both.ours(name) for name in names], starts, ends)
    for content, name, start, end in zip(ranges, names, starts, ends, strict=True):
        assert content == (both.folder / name).read_bytes()[start:end]
    path = data.draw(st.sampled_from(regular))
    size = (both.folder / path).stat().st_size
    moves = st.tuples(st.integers(0, size + 5), st.integers(0, 70_000))
    with both.fs.open(both.ours(path)) as mine, both.local.open(both.theirs(path)) as theirs:
        for place, count in data.draw(st.lists(moves, max_size=6)):
            assert mine.seek(place) == theirs.seek(place)
            mine_buffer, their_buffer = bytearray(count), bytearray(count)
            assert mine.readinto(mine_buffer) == theirs.readinto(their_buffer)
            assert mine_buffer == their_buffer
            assert mine.read(100) == theirs.read(100)
            assert mine.tell() == theirs.tell()
