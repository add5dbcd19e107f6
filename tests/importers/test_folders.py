"""Folders as versions."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

import dataver
from dataver.errors import InvalidInput, PathNotFound
from dataver.importers import import_versions, plan_import
from dataver.importers.folders import FoldersSource


def make(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_dated_folders_are_versions_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder is a child of the one before; times and tags are those of the names; later ones follow."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "data_2026-01-03", a="1")
    make(tmp_path / "data_2025-12-30", a="1", b="2")
    repo = dataver.init(tmp_path / "repo")
    report = import_versions(repo, FoldersSource(["data_*/"], "cats"))
    assert [version.message for version in report.versions] == ["data_2025-12-30", "data_2026-01-03"]
    assert repo.version("cats@data_2026-01-03").created == datetime(2026, 1, 3, tzinfo=UTC)
    assert [each.path for each in repo.version("cats@latest").entries()] == ["a"]
    make(tmp_path / "data_2026-02-01", a="3")
    report = import_versions(repo, FoldersSource(["data_*/"], "cats"))
    assert (report.known, [version.label for version in report.versions]) == (2, ["1.0.2"])


def test_links_to_another_folder_are_followed_when_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they are named; the file is read once."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "v1", a="1")
    make(tmp_path / "v2", b="2")
    (tmp_path / "v2/a").symlink_to("../v1/a")
    repo = dataver.init(tmp_path / "repo")
    report = import_versions(repo, FoldersSource(["v*"], "named"))
    assert [name for name, _ in report.problems] == ["a in named@1.0.1"]
    report = import_versions(repo, FoldersSource(["v*"], "cats", follow_links=True))
    assert (report.files, report.problems) == (2, [])
    assert repo.version("cats@v2").read("a") == b"1"


def test_numbers_in_names_are_compared_by_value(tmp_path: Path) -> None:
    """v10 follows v9, and names that are labels are labels."""
    for name in ("v10", "v9", "v1.2.0"):
        make(tmp_path / name, a=name)
    found = list(FoldersSource([tmp_path / "v*"]).versions())
    assert [version.key for version in found] == ["v1.2.0", "v9", "v10"]
    assert [version.label for version in found] == ["1.2.0", None, None]
    assert {version.dataset for version in found} == {"v"}


def test_hard_links_are_read_once(tmp_path: Path) -> None:
    """A hard link to a file in the folder before is not read again, as with `rsync --link-dest`."""
    make(tmp_path / "d1", a="1")
    make(tmp_path / "d2", b="2")
    os.link(tmp_path / "d1" / "a", tmp_path / "d2" / "a")
    repo = dataver.init(tmp_path / "repo")
    report = import_versions(repo, FoldersSource([tmp_path / "d*"]), workspace=tmp_path)
    assert (report.files, [version.file_count for version in report.versions]) == (2, [1, 2])


def test_a_file_that_changed_after_its_import_is_read_again(tmp_path: Path) -> None:
    """A hard link to it in the next folder has its present bytes, not those that were imported."""
    make(tmp_path / "d1", a="before")
    repo = dataver.init(tmp_path / "repo")
    import_versions(repo, FoldersSource([tmp_path / "d*"]), workspace=tmp_path)
    (tmp_path / "d1" / "a").write_text("since")
    make(tmp_path / "d2")
    os.link(tmp_path / "d1" / "a", tmp_path / "d2" / "a")
    assert plan_import(repo, FoldersSource([tmp_path / "d*"])).files == 1
    import_versions(repo, FoldersSource([tmp_path / "d*"]), workspace=tmp_path)
    assert [repo.version(f"d@1.0.{number}").read("a") for number in (0, 1)] == [b"before", b"since"]


def test_what_changes_during_an_interruption_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was read before, and deleted or replaced by a folder since, is not in the version."""
    monkeypatch.setattr("dataver.importers.reading._FILES", 2)
    monkeypatch.setattr("dataver.importers.importing._FILES", 2)
    make(tmp_path / "d1", a="1", b="2", c="3")
    repo = dataver.init(tmp_path / "repo")
    monkeypatch.setattr("dataver.importers.importing._Import._share", _stop)
    with pytest.raises(KeyboardInterrupt):
        import_versions(repo, FoldersSource([tmp_path / "d1"], "cats"), workspace=tmp_path)
    monkeypatch.undo()
    for name in "ab":
        (tmp_path / "d1" / name).unlink()
    make(tmp_path / "d1" / "b", inside="4")
    import_versions(repo, FoldersSource([tmp_path / "d1"], "cats"), workspace=tmp_path)
    version = repo.version("cats")
    assert {each.path: version.read(each.path) for each in version.entries()} == {"b/inside": b"4", "c": b"3"}


def _stop(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_names_that_are_not_unicode_are_reported(tmp_path: Path) -> None:
    """Of files, which the version lacks, and of folders, whose version is recognised later."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    make(folder, a="1", **{os.fsdecode(b"b\xff"): "2"})
    repo = dataver.init(tmp_path / "repo")
    report = import_versions(repo, FoldersSource([folder], "cats"), workspace=tmp_path)
    assert [each.path for each in repo.version("cats").entries()] == ["a"]
    assert len(report.problems) == 1
    again = import_versions(repo, FoldersSource([folder], "cats"), workspace=tmp_path)
    assert (again.versions, again.known) == ([], 1)


def test_wrong_arguments_say_so(tmp_path: Path) -> None:
    """A pattern without a folder, and two folders of one name, are refused."""
    with pytest.raises(PathNotFound, match="there is no folder"):
        FoldersSource([tmp_path / "none*"])
    make(tmp_path / "x" / "d1")
    make(tmp_path / "y" / "d1")
    with pytest.raises(InvalidInput, match="the same name"):
        FoldersSource([tmp_path / "x" / "d1", tmp_path / "y" / "d1"])
