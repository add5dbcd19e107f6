"""What another user may not read or write is said in one sentence, and leaves everything as it was."""

import os
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

import dataver
from dataver.errors import DataverError

from .conftest import contents

NOBODY = 65534


@pytest.fixture
def shared(monkeypatch):
    """A folder that every user can reach, with a repository in it and a cache that anybody may write."""
    root = Path(tempfile.mkdtemp(prefix="dataver-shared-"))
    root.chmod(0o755)
    (root / "source").mkdir()
    for number in range(5):
        (root / "source" / f"{number}").write_text(f"content {number}")
    repo = dataver.init(root / "repo")
    repo.sync(root / "source", "d", workspace=root / "own")
    for name in ("theirs", "cache"):
        (root / name).mkdir()
        (root / name).chmod(0o777)
    monkeypatch.setenv("DATAVER_CACHE", str(root / "cache"))
    yield root
    for path, _, _ in os.walk(root):
        os.chmod(path, 0o755)
    shutil.rmtree(root, ignore_errors=True)


def as_another_user(work, rehearsal):
    """Run `work` in a child that has no privileges; return what it returned, or its error as text.

    Args:
        work: gives a text.
        rehearsal: does the like with privileges beforehand, so that the child finds every module loaded.
    """
    rehearsal()
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["DATAVER_CACHE"] += "/another"
        try:
            if os.getuid() == 0:  # whoever runs the tests without privileges needs no other user
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            said = f"done: {work()}"
        except DataverError as error:
            said = f"{type(error).__name__}: {error} ({error.hint})"
        except BaseException:  # noqa: BLE001 - carried to the parent
            said = traceback.format_exc()
        os.write(there, said.encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said


def publish(root, work):
    repo = dataver.open(root / "repo")
    (root / work / "new").mkdir(exist_ok=True)
    (root / work / "new" / "file").write_text(work)
    draft = repo.create("d", workspace=root / work)
    draft.add(root / work / "new")
    draft.finalize()
    return draft.upload().version.ref


def shut(root, mode):
    for folder, _, files in os.walk(root):
        for name in files:
            os.chmod(f"{folder}/{name}", mode)
        os.chmod(folder, mode | (0o111 if mode else 0))


def test_a_repository_that_may_only_be_read_is_fetched_from(shared):
    """Reading needs no right to write: no lock, no probe, no temporary file in the repository."""
    shut(shared / "repo", 0o444)
    before = sorted((shared / "repo").rglob("*"))

    def read():
        repo = dataver.open(shared / "repo")
        assert repo.verify("d").ok
        return sorted(contents(repo.fetch("d").path).values())

    def rehearse():
        dataver.open(shared / "repo").fetch("d", dest=shared / "rehearsal")
        assert dataver.open(shared / "repo").verify("d").ok

    said = as_another_user(read, rehearse)
    assert said == f"done: {[f'content {number}'.encode() for number in range(5)]}"
    assert sorted((shared / "repo").rglob("*")) == before


def test_a_repository_that_may_not_be_written_refuses_the_upload_and_keeps_the_draft(shared):
    """One sentence about permission; with it, the same draft is uploaded."""
    shutil.copytree(shared / "repo", shared / "rehearsal-repo")
    shut(shared / "repo", 0o444)

    def rehearse():
        repo = dataver.open(shared / "rehearsal-repo")
        (shared / "own" / "x").write_text("x")
        draft = repo.create("e", workspace=shared / "own")
        draft.add(shared / "own" / "x")
        draft.finalize()
        draft.upload()

    said = as_another_user(lambda: publish(shared, "theirs"), rehearse)
    assert said.startswith("StoreError: ") and "permission is denied" in said and "owner and mode" in said
    assert str(shared / "repo") in said
    shut(shared / "repo", 0o666)
    repo = dataver.open(shared / "repo")
    assert repo._core.records.labels("d") == ["1.0.0"]
    (draft,) = repo.drafts(shared / "theirs")
    assert draft.upload().version.read("file") == b"theirs"


def test_a_repository_that_may_not_be_read_is_not_taken_for_missing(shared):
    """No permission is not "not a repository", after which somebody might make a new one there."""
    shut(shared / "repo", 0)
    said = as_another_user(lambda: dataver.open(shared / "repo").url, lambda: None)
    assert said.startswith("StoreError: ") and "permission is denied" in said
    said = as_another_user(
        lambda: dataver.init(shared / "repo").url, lambda: dataver.init(shared / "rehearsal")
    )
    assert said.startswith("StoreError: ") and "permission is denied" in said


def test_a_place_that_may_not_be_written_gets_no_repository(shared):
    """Init says so at once."""
    (shared / "shut").mkdir(mode=0o555)
    said = as_another_user(lambda: dataver.init(shared / "shut" / "repo").url, lambda: None)
    assert said.startswith("StoreError: ") and "permission is denied" in said
    assert list((shared / "shut").iterdir()) == []


def test_unreadable_files_and_folders_are_named_and_the_rest_is_added(shared):
    """What may not be read is a problem of its own; nothing is skipped in silence."""
    source = shared / "source"
    (source / "closed").mkdir()
    (source / "closed" / "inside").write_text("x")
    (source / "1").chmod(0)
    (source / "closed").chmod(0)

    def add():
        repo = dataver.open(shared / "repo")
        draft = repo.create("e", workspace=shared / "theirs")
        problems = draft.add(source).problems
        return sorted((os.path.basename(name), reason) for name, reason in problems), [
            e.path for e in draft.tree.iterate()
        ]

    said = as_another_user(add, lambda: publish(shared, "own"))
    problems = [("closed", "the folder cannot be read: Permission denied")]
    problems.append(("1", "it cannot be read: Permission denied"))
    assert said == f"done: {(sorted(problems), ['0', '2', '3', '4'])}"


def test_a_target_that_may_not_be_written_is_named(shared):
    """Neither an existing nor a new folder is begun where the user may not write."""
    (shared / "shut").mkdir(mode=0o555)
    for dest in (shared / "shut", shared / "shut" / "new"):
        said = as_another_user(
            lambda dest=dest: dataver.open(shared / "repo").fetch("d", dest=dest).path,
            lambda dest=dest: dataver.open(shared / "repo").fetch(
                "d", dest=shared / f"rehearsal-{dest.name}"
            ),
        )
        assert (
            said.startswith("StoreError: ") and "Permission denied" in said and str(shared / "shut") in said
        )
    assert list((shared / "shut").iterdir()) == []


def test_a_cache_that_may_not_be_written_is_named_by_fetch_and_ignored_by_add(shared):
    """A fetch needs the folder and says so; adding only loses its memory (invariant 5)."""
    (shared / "cache").chmod(0o555)  # the other user's cache is to be made in it
    said = as_another_user(lambda: dataver.open(shared / "repo").fetch("d").path, lambda: None)
    assert said.startswith("CacheUnusable: ") and str(shared / "cache") in said
    shut(shared / "repo", 0o666)
    for folder, _, _ in os.walk(shared / "repo"):
        os.chmod(folder, 0o777)
    said = as_another_user(lambda: publish(shared, "theirs"), lambda: None)
    assert said == "done: d@1.0.1"


def test_a_workspace_that_may_not_be_written_is_named(shared):
    """A draft has to be kept somewhere; the hint says how to choose the place."""
    (shared / "shut").mkdir(mode=0o555)
    said = as_another_user(
        lambda: dataver.open(shared / "repo").create("d", workspace=shared / "shut").id, lambda: None
    )
    assert said.startswith("InvalidInput: ") and "workspace" in said and "Permission denied" in said


def test_another_users_draft_is_refused_in_a_sentence(shared):
    """Neither an accident nor a change where the draft may not be written or read."""
    repo = dataver.open(shared / "repo")
    draft = repo.create("d", workspace=shared / "own")
    draft.add(shared / "source")

    def add():
        found = dataver.open(shared / "repo").draft(draft.id, workspace=shared / "own")
        return found.add(shared / "source", dest="more").files

    shut(shared / "own", 0o444)
    said = as_another_user(add, lambda: None)
    assert said.startswith("StoreError: ") and draft.id in said
    shut(shared / "own", 0)
    said = as_another_user(add, lambda: None)
    assert said.startswith(("StoreError: ", "NotFound: "))
