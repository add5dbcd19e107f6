"""ClearML's buckets, laid out by hand: states, zip files, and damage on purpose."""

import io
import json
import random
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import IntegrityError, InvalidInput
from dataver.importers import import_versions
from dataver.importers.clearml import ClearMLSource, FolderReader
from dataver.importers.source import SourceFile
from dataver_cli.main import main


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """An empty repository, and a folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return dataver.init(tmp_path / "repository")


def entry(path: str, data: bytes, owner: str, **others: Any) -> dict[str, Any]:
    """Return a file as a state has it."""
    found = {"relative_path": path, "hash": sha256(data).hexdigest(), "parent_dataset_id": owner}
    return {**found, "size": len(data), "artifact_name": "data", **others}


def task(
    bucket: Path,
    key: str,
    files: list[dict[str, Any]],
    parents: list[str] = [],  # noqa: B006
    members: dict[str, bytes] | None = None,
    **others: Any,
) -> Path:
    """Write a task of the dataset `team/cats`; return its folder of artifacts."""
    artifacts = bucket / f"team/.datasets/cats/cats.{key}/artifacts"
    (artifacts / "state").mkdir(parents=True)
    state = {"dataset_file_entries": files, "dataset_link_entries": [], "id": key}
    state |= {"dependency_graph": {key: parents}, "dirty": False, **others}
    (artifacts / "state/state.json").write_text(json.dumps(state))
    if members is not None:
        (artifacts / "data").mkdir()
        with zipfile.ZipFile(artifacts / f"data/dataset.{key}.x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    return artifacts


def files_of(location: str | Path, key: str) -> dict[str, SourceFile]:
    """Return the files of a task by path."""
    source = ClearMLSource(FolderReader(str(location)))
    return {file.path: file for each in source.versions() if each.key == key for file in each.files()}


def read(file: SourceFile) -> bytes:
    """Return the bytes of a file."""
    assert file.read, file.missing
    with file.read() as content:
        return content.read()


def test_a_chain_is_read_parents_first(tmp_path: Path) -> None:
    """A child names files of its parent by the same content, and reads them from the parent's zip file."""
    task(tmp_path, "b2", [entry("a", b"1", "a1"), entry("b", b"2", "b2")], ["a1"], {"b": b"2"})
    task(tmp_path, "a1", [entry("a", b"1", "a1")], [], {"a": b"1"})
    source = ClearMLSource(FolderReader(str(tmp_path)))
    first, second = source.versions()
    assert (first.key, first.parents, second.key, second.parents) == ("a1", (), "b2", ("a1",))
    assert (first.dataset, first.metadata) == (
        "team/cats",
        {"clearml": {"id": "a1", "project": "team", "name": "cats"}},
    )
    found = files_of(tmp_path, "b2")
    assert found["a"].content == files_of(tmp_path, "a1")["a"].content
    assert [read(found[name]) for name in "ab"] == [b"1", b"2"]
    assert source.problems == []


def test_files_of_unknown_size_are_read(tmp_path: Path) -> None:
    """By name, or after a rename by the SHA-256."""
    files = [entry("a", b"1", "a1", size=None), entry("new", b"22", "a1", size=None)]
    task(tmp_path, "a1", files, [], {"a": b"1", "old": b"22"})
    found = files_of(tmp_path, "a1")
    assert [(read(found[name]), found[name].size) for name in ("a", "new")] == [(b"1", None), (b"22", None)]


def test_renamed_members_are_found_by_hash(tmp_path: Path) -> None:
    """A renamed file is found by its name in the owner's state, or by its bytes; swapped names do not mix."""
    members = {"old": b"1", "x": b"22", "y": b"33", "hidden": b"444"}
    listed = [entry("old", b"1", "a1"), entry("x", b"22", "a1"), entry("y", b"33", "a1")]
    task(tmp_path, "a1", listed, [], members)
    moved = [
        entry("new", b"1", "a1"),
        entry("x", b"33", "a1"),
        entry("y", b"22", "a1"),
        entry("z", b"444", "a1"),
    ]
    task(tmp_path, "b2", moved, ["a1"])
    found = files_of(tmp_path, "b2")
    assert {path: read(file) for path, file in found.items()} == {
        "new": b"1",
        "x": b"33",
        "y": b"22",
        "z": b"444",
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state[:-20],
        lambda state: b"[" * 100_000,
        lambda state: b"null",
        lambda state: state.replace(b'"size": 1', b'"size": -1'),
        lambda state: state.replace(b'"size": 1', b'"size": "1"'),
        lambda state: state.replace(b'"dataset_file_entries": [', b'"dataset_file_entries": [7, '),
        lambda state: state.replace(b'"hash": "', b'"hash": "../'),
        lambda state: state.replace(b'"dependency_graph": {', b'"dependency_graph": 7, "x": {'),
    ],
)
def test_a_damaged_state_loses_only_its_version(
    tmp_path: Path, repo: dataver.Repository, damage: Any
) -> None:
    """A state that is cut or has impossible values is named; the other version is brought."""
    task(tmp_path / "bucket", "a1", [entry("a", b"1", "a1")], [], {"a": b"1"})
    state = (
        task(tmp_path / "bucket", "b2", [entry("b", b"2", "b2")], ["a1"], {"b": b"2"}) / "state/state.json"
    )
    state.write_bytes(damage(state.read_bytes()))
    report = import_versions(repo, ClearMLSource(FolderReader(str(tmp_path / "bucket"))))
    assert [each.ref for each in report.versions] == ["team/cats@1.0.0"]
    [(name, reason)] = report.problems
    assert name == "team/cats (b2)"
    assert "the state of the ClearML task b2 is damaged" in reason


def test_hostile_names_stay_outside(tmp_path: Path, repo: dataver.Repository) -> None:
    """Paths that lead out of a version, and local paths that a bucket names, are reported and not read."""
    (tmp_path / "secret").write_bytes(b"s")
    hostile = [entry("../../x", b"1", "a1"), entry("/etc/x", b"1", "a1"), entry("ok", b"1", "a1")]
    hostile.append(entry("local", b"s", "none", local_path=str(tmp_path / "secret")))
    link = {"link": f"file://{tmp_path}/secret", "relative_path": "link", "size": 1, "hash": None}
    task(tmp_path / "bucket", "a1", hostile, [], {"../../x": b"1"}, dataset_link_entries=[link])
    report = import_versions(repo, ClearMLSource(FolderReader(str(tmp_path / "bucket"))))
    assert [each.path for each in repo.version("team/cats").entries()] == ["ok"]
    assert {name.partition(" in ")[0] for name, _ in report.problems} == {
        "../../x",
        "/etc/x",
        "local",
        "link",
    }


def test_members_are_bounded_by_the_state(tmp_path: Path) -> None:
    """A member of another size than the state says, as of a zip bomb, is never read."""
    bomb = task(tmp_path, "a1", [entry("a", b"1", "a1")], [], {"a": bytes(12_345_678)}) / "data"
    with pytest.raises(IntegrityError, match="no zip file of ClearML has 'a'"):
        read(files_of(tmp_path, "a1")["a"])
    [path] = bomb.iterdir()
    data = path.read_bytes()
    size = (12_345_678).to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (1).to_bytes(4, "little")))  # the headers lie
    with pytest.raises(IntegrityError, match="no zip file of ClearML has 'a'"):
        read(files_of(tmp_path, "a1")["a"])


@pytest.mark.parametrize(
    "how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_compression_is_read(tmp_path: Path, how: int) -> None:
    """Small, large and empty members are read in each compression that ClearML's upload takes."""
    members = {"empty": b"", "small": b"s" * 5000, "ä.bin": random.Random(1).randbytes(3_000_000)}
    artifacts = task(tmp_path, "a1", [entry(name, data, "a1") for name, data in members.items()])
    (artifacts / "data").mkdir()
    with zipfile.ZipFile(artifacts / "data/x.zip", "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert {path: read(file) for path, file in files_of(tmp_path, "a1").items()} == members


def test_missing_and_broken_zips_are_named(tmp_path: Path) -> None:
    """A file whose zip file is gone says so without a read; a cut zip file is an error of its files only."""
    task(tmp_path, "a1", [entry("a", b"1", "a1")])
    artifacts = task(tmp_path, "b2", [entry("a", b"1", "a1"), entry("b", b"2", "b2")], ["a1"], {"b": b"2"})
    found = files_of(tmp_path, "b2")
    assert found["a"].missing == "its bytes are in zip files of the ClearML task a1, which are missing"
    [path] = (artifacts / "data").iterdir()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(IntegrityError, match="is damaged"):
        read(files_of(tmp_path, "b2")["b"])


def test_a_cycle_of_parents_ends(tmp_path: Path) -> None:
    """Tasks that name each other as parents are reported, and the others remain."""
    task(tmp_path, "a1", [], ["b2"])
    task(tmp_path, "b2", [], ["a1"])
    task(tmp_path, "c3", [], ["b2", "unknown"])
    source = ClearMLSource(FolderReader(str(tmp_path)))
    assert "c3" in [each.key for each in source.versions()]
    assert [reason for _, reason in source.problems] == ["it is its own ancestor"]


def test_a_bucket_of_any_protocol_is_read_by_ranges(repo: dataver.Repository, tmp_path: Path) -> None:
    """A bucket behind fsspec has the same versions as a folder; large members are not kept in memory."""
    import fsspec

    big = bytes(range(256)) * 20_000
    task(tmp_path / "bucket", "a1", [entry("big", big, "a1")], [], {"big": big})
    fsspec.filesystem("memory").put(str(tmp_path / "bucket"), "/clearml-bucket", recursive=True)
    report = import_versions(repo, ClearMLSource(FolderReader("memory://clearml-bucket")))
    assert not report.problems
    assert repo.version("team/cats").read("big") == big


def test_a_dataset_in_progress_is_imported_when_it_is_uploaded(
    tmp_path: Path, repo: dataver.Repository
) -> None:
    """Else the version would have only a part of its files for ever."""
    state = task(tmp_path / "b", "a1", [entry("a", b"1", "a1")], dirty=True) / "state/state.json"
    report = import_versions(repo, ClearMLSource(FolderReader(str(tmp_path / "b"))))
    assert report.versions == []
    assert "it is in progress" in report.problems[0][1]
    shutil.rmtree(state.parents[1])
    task(tmp_path / "b", "a1", [entry("a", b"1", "a1")], [], {"a": b"1"})
    report = import_versions(repo, ClearMLSource(FolderReader(str(tmp_path / "b"))))
    assert (report.problems, report.versions[0].read("a")) == ([], b"1")


def test_names_that_are_equal_here_are_reported(tmp_path: Path) -> None:
    """Both are imported, as lines of one dataset."""
    task(tmp_path, "a1", [])
    other = task(tmp_path, "b1", []).parent
    (tmp_path / "team/.datasets/cats!").mkdir()
    other.rename(tmp_path / "team/.datasets/cats!/cats!.b1")
    source = ClearMLSource(FolderReader(str(tmp_path)))
    assert {each.dataset for each in source.versions()} == {"team/cats"}
    assert "the same name" in source.problems[0][1]


def test_projects_and_names_select(tmp_path: Path) -> None:
    """Only datasets of a project and those below it, or of a name, are read."""
    task(tmp_path, "a1", [])
    for project, name, count in (("team", None, 1), ("tea", None, 0), (None, "cats", 1), (None, "dogs", 0)):
        source = ClearMLSource(FolderReader(str(tmp_path)), project, name)
        if count:
            assert len(list(source.versions())) == count
        else:
            with pytest.raises(InvalidInput, match="there are no ClearML datasets"):
                list(source.versions())


def test_sessions_know_their_facts(tmp_path: Path) -> None:
    """A session's task.json has version, tags and description, and its files are read where they were."""
    (tmp_path / "a").write_bytes(b"1")
    task(tmp_path / "s/data", "offline-1", [entry("a", b"1", "offline-1", local_path=str(tmp_path / "a"))])
    facts = {
        "tags": ["raw", "external files"],
        "comment": "hello",
        "hyperparams": {"properties": {"version": {"value": "2.0.0"}}},
    }
    (tmp_path / "s/task.json").write_text(json.dumps(facts))
    [version] = ClearMLSource(FolderReader(str(tmp_path / "s"))).versions()
    assert (version.dataset, version.label, version.tags, version.message) == (
        "team/cats",
        "2.0.0",
        ("raw",),
        "hello",
    )
    [file] = version.files()
    assert file.url == str(tmp_path / "a")
    (tmp_path / "s/task.json").write_text("{")
    source = ClearMLSource(FolderReader(str(tmp_path / "s")))
    assert list(source.versions()) == []
    assert source.problems[0][1].startswith("it is damaged")


def test_files_that_are_no_sessions_are_refused(tmp_path: Path) -> None:
    """A file that is not a zip file, and a damaged one, are errors with their names."""
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match="not a zip file"):
        FolderReader(str(tmp_path / "x.zip"))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("task.json", "{}" * 1000)
    (tmp_path / "x.zip").write_bytes(data.getvalue()[:100] + data.getvalue()[130:])
    with pytest.raises(InvalidInput, match="cannot be read as a zip file"):
        FolderReader(str(tmp_path / "x.zip"))


def test_the_command_imports_a_bucket(
    repo: dataver.Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dataver import clearml` shows a plan, and makes versions that old ids name."""
    task(tmp_path / "bucket", "a1", [entry("a", b"1", "a1")], [], {"a": b"1"})
    line = ["import", "clearml", str(tmp_path / "bucket"), "--repo", repo.url]
    assert main([*line, "--plan"]) == 0
    assert "versions  1 to make, 0 there" in capsys.readouterr().out
    assert main([*line, "--project", "team"]) == 0
    assert capsys.readouterr().out.startswith("team/cats@1.0.0  dv1:")
    assert repo.version("team/cats").metadata["clearml"]["id"] == "a1"
    assert main([*line, "--name", "dogs"]) == 1
    assert "there are no ClearML datasets" in capsys.readouterr().err
