"""The history of a git repository: order, changes, and the commits that are versions of data."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.formats.entry import Kind
from dataver.importers.git import Changed, Commit, Files, GitSource, changes, commits
from dataver.importers.git_program import GitProgram
from dataver.importers.source import SourceFile, SourceVersion
from importers.git_repository import BEGAN, GitRepository


@pytest.fixture
def made(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "cats")


def messages(where: Path, *refs: str) -> list[str]:
    return [commit.message for commit in commits(GitProgram(str(where)), refs)]


class DataSource(GitSource):
    """The versions of files named `*.data`."""

    kind = "data"

    def _changes(self, history: Sequence[Commit]) -> Changed:
        return changes(self._git, history, ["*.data"])

    def _files(self, files: Files) -> Iterator[SourceFile]:
        for path, blob in files.items():
            yield SourceFile(path, blob.oid, kind=Kind.EXECUTABLE if blob.executable else Kind.FILE)


def versions(made: GitRepository) -> list[SourceVersion]:
    return list(DataSource(str(made.folder)).versions())


def paths(version: SourceVersion) -> list[str]:
    return [file.path for file in version.files()]


def test_a_commit_has_its_author_time_and_message(made: GitRepository) -> None:
    """As git shows them, in UTC; a message keeps its lines."""
    made.commit("äöü\n\nmore\nlines", {"a": b"1"})
    (commit,) = commits(GitProgram(str(made.folder)))
    assert (commit.author, commit.message) == ("Ana <ana@example.org>", "äöü\n\nmore\nlines")
    assert commit.created is not None
    assert commit.created.timestamp() == BEGAN + 3600


def test_the_default_branch_comes_first(made: GitRepository) -> None:
    """Then what it merged, and branches that were not merged last."""
    made.commit("one")
    made.run("checkout", "-qb", "side")
    made.commit("side")
    made.run("checkout", "-qb", "open", "main")
    made.commit("open")
    made.run("checkout", "-q", "main")
    made.commit("two")
    made.merge("side")
    made.commit("three")
    assert messages(made.folder) == ["one", "two", "side", "merge", "three", "open"]
    assert messages(made.folder, "side") == ["one", "side"]
    assert messages(made.folder, "open", "main~2") == ["one", "open", "two"]
    made.run("checkout", "-q", "open")
    clone = GitProgram(f"file://{made.folder}")
    assert [commit.message for commit in commits(clone)][:2] == ["one", "open"]
    with pytest.raises(NotFound, match="no branch, tag or commit nothing"):
        commits(clone, ["nothing"])
    with pytest.raises(NotFound, match="no branch, tag or commit --all"):
        commits(clone, ["--all"])


def test_a_version_is_a_commit_that_changes_the_data(made: GitRepository) -> None:
    """Other commits stand for the version before: their tags belong to it."""
    made.commit("no data", {"code": b"1"})
    made.run("tag", "early")
    first = made.commit("first", {"x.data": b"1"})
    made.commit("code only", {"code": b"2"})
    made.run("tag", "-a", "-m", "annotated", "v1")
    second = made.commit("second", {"x.data": None, "sub/y z.data": b"1"})
    made.run("tag", "v2")
    gone = made.commit("gone", {"sub/y z.data": None})
    one, two, three = versions(made)
    assert [one.key, two.key, three.key] == [first, second, gone]
    assert [one.parents, two.parents, three.parents] == [(), (first,), (second,)]
    assert [paths(one), paths(two), paths(three)] == [["x.data"], ["sub/y z.data"], []]
    assert [one.tags, two.tags, three.tags] == [("v1",), ("v2",), ()]


def test_a_merge_is_a_version_if_both_sides_have_data_of_their_own(made: GitRepository) -> None:
    """Even with the data of its first parent; a merge of code, or of a branch that is ahead, is none."""
    base = made.commit("base", {"x.data": b"1"})
    made.run("checkout", "-qb", "code")
    made.commit("code", {"code": b"1"})
    made.run("checkout", "-q", "main")
    left = made.commit("left", {"l.data": b"1"})
    made.merge("code", files={"code": b"1"})
    made.run("checkout", "-qb", "side", base)
    side = made.commit("side", {"s.data": b"1"})
    made.run("checkout", "-q", "main")
    both = made.merge("side", files={"s.data": b"1"})
    made.run("checkout", "-qb", "ahead")
    ahead = made.commit("ahead", {"a.data": b"1"})
    made.run("checkout", "-q", "main")
    made.merge("ahead", files={"a.data": b"1"})
    made.run("tag", "merged")
    found = versions(made)
    assert [each.key for each in found] == [base, left, side, both, ahead]
    assert [each.parents for each in found] == [(), (base,), (base,), (left, side), (both,)]
    assert found[-1].tags == ("merged",)
    assert sorted(paths(found[3])) == ["l.data", "s.data", "x.data"]


def test_links_and_submodules_are_no_files(made: GitRepository) -> None:
    """Only regular files are read; executables are marked."""
    made.write({"x.data": b"1", "run.data": b"2"})
    (made.folder / "run.data").chmod(0o755)
    (made.folder / "l.data").symlink_to("x.data")
    made.commit("one")
    (one,) = versions(made)
    assert {file.path: file.kind for file in one.files()} == {
        "x.data": Kind.FILE,
        "run.data": Kind.EXECUTABLE,
    }


def test_files_are_read_by_their_objects(made: GitRepository) -> None:
    """Missing and long ones are left out."""
    sha = made.commit("one", {"a": b"one\ntwo", "b": b"", "long": b"x" * 100})
    git = GitProgram(str(made.folder))
    names = [f"{sha}:{name}" for name in ("a", "none", "b", "long")]
    assert list(git.read([*names, "0" * 40], 99)) == [(names[0], b"one\ntwo"), (names[2], b"")]
    assert list(git.read([], 99)) == []


def test_any_folder_of_a_repository_names_it(made: GitRepository, tmp_path: Path) -> None:
    """A folder inside, the folder of git, a bare clone, a URL."""
    made.commit("one", {"sub/a": b"1"})
    made.run("clone", "-q", "--bare", str(made.folder), str(tmp_path / "bare.git"))
    inside = GitProgram(str(made.folder / "sub"))
    assert (inside.home, inside.prefix, inside.name) == (made.folder, "sub/", "cats")
    for where in (made.folder / ".git", tmp_path / "bare.git", f"file://{made.folder}"):
        git = GitProgram(str(where))
        assert git.home is None
        assert [each.message for each in commits(git)] == ["one"]
        assert git.name in {"cats", "bare"}


def test_a_repository_without_commits_has_no_history(made: GitRepository) -> None:
    """There is nothing to resolve."""
    assert commits(GitProgram(str(made.folder))) == []


@pytest.mark.parametrize("where", ["nothing", "--upload-pack=touch x", "/"])
def test_a_folder_without_a_repository_is_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sentence."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput):
        GitProgram(where)


@pytest.mark.parametrize("where", ["ext::sh -c 'touch run'", "https://ana:secret@127.0.0.1:1/cats.git"])
def test_a_url_that_cannot_be_cloned_is_an_error_without_secrets(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a URL names is run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError) as error:
        GitProgram(where)
    assert "secret" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_nothing_of_a_repository_is_run(made: GitRepository, tmp_path: Path) -> None:
    """Hooks, monitors, filters, pagers and programs for signatures of a hostile repository stay quiet."""
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n", "utf-8")
    program.chmod(0o755)
    made.commit("one", {"x.data": b"1", ".gitattributes": b"*.data filter=f diff=f"})
    for name in ("core.fsmonitor", "core.pager", "gpg.program", "diff.f.textconv", "diff.external"):
        made.run("config", name, str(program))
    for name in ("filter.f.smudge", "filter.f.clean", "core.sshCommand", "core.editor"):
        made.run("config", name, str(program))
    made.run("config", "log.showSignature", "true")
    hooks = made.folder / ".git" / "hooks"
    for name in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-index-change"):
        (hooks / name).hardlink_to(program)
    assert len(versions(made)) == 1
    assert not ran.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_repository_of_another_user_is_refused_with_the_way_out(made: GitRepository) -> None:
    """Git trusts none, and says how; so does the message."""
    made.commit("one")
    for path in (made.folder, made.folder / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user") as error:
        GitProgram(str(made.folder))
    assert error.value.hint is not None
    assert "safe.directory" in error.value.hint


def test_variables_of_git_do_not_change_the_repository(
    made: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook of another one."""
    made.commit("one")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", "none")
    assert messages(made.folder) == ["one"]
