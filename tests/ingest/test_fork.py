"""One version made by many processes: tokens, workers, parts, and their join."""

import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import dataver
from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound, PathNotFound, StoreError
from dataver.formats.fork import parse_token
from dataver.machine.cache_root import private_cache_root
from dataver.machine.locked_folder import LockedFolder
from dataver.machine.store_clock import store_now
from dataver.repository.layout import part_key
from waiting import until

DAY = timedelta(days=1)


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def draft(repo, tmp_path):
    return repo.create("d", workspace=tmp_path / "driver")


def fill(folder, names, size=3000, seed=1):
    """Write a file of noise for each name; return the folder."""
    noise = random.Random(f"{seed} {folder.name}")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(noise.randbytes(size))
    return folder


def added(token, *sources, dest="", name=None):
    """Return the part of a worker that adds sources."""
    with dataver.join_draft(token, name=name) as worker:
        worker.add(*sources, dest=dest)
        return worker.finish()


def packs(repo):
    return {path.name for path in (Path(repo.url) / "packs").rglob("*") if path.is_file()}


def stored(repo):
    return sum(path.stat().st_size for path in (Path(repo.url) / "packs").rglob("*") if path.is_file())


def work(token, folder, dest):
    """Be one worker, in a process of its own."""
    return added(token, folder, dest=dest).to_json()


def test_two_processes_make_the_version_that_one_makes(repo, draft, tmp_path):
    """The same digest, published once, and readable."""
    folders = [fill(tmp_path / f"s{number}", [f"{n}/x" for n in range(50)]) for number in range(2)]
    tokens = draft.fork(2)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.starmap(work, zip(tokens, folders, ["a", "b"], strict=True))
    report = draft.join(map(dataver.Part.from_json, parts))
    assert (report.parts, report.entries, report.size) == (2, 100, 100 * 3000)
    draft.finalize("made by two")
    version = draft.upload().version
    alone = repo.create("alone", workspace=tmp_path / "alone")
    for folder, dest in zip(folders, "ab", strict=True):
        alone.add(folder, dest=dest)
    assert alone.finalize("made by one").digest == version.digest
    assert repo.verify("d").ok
    assert repo.versions("d") == [version]


def test_a_token_has_no_secret_and_a_part_is_small(repo, draft, tmp_path):
    """The repository's id, with which tokens are bound, is in neither; a large part leaves its blocks."""
    (token,) = draft.fork(1)
    large = added(token, fill(tmp_path / "many", map(str, range(1000)), 10))
    small = added(token, fill(tmp_path / "few", "ab"))
    assert repo.id not in token + large.to_json() + small.to_json()
    assert json.loads(token)["draft"] == draft.id
    assert len(large.to_json()) < 600 and large.key
    assert len(small.to_json()) < 4000 and not small.key
    assert pickle.loads(pickle.dumps(large)) == dataver.Part.from_json(large.to_json()) == large
    assert draft.join([large, small]).entries == 1002


def test_a_part_may_come_twice_and_an_attempt_may_be_repeated(repo, draft, tmp_path):
    """Speculative and repeated attempts of a task change nothing, whichever is joined."""
    tokens = draft.fork(2)
    folder = fill(tmp_path / "src", "abc")
    first, again = added(tokens[0], folder), added(tokens[0], folder)
    draft.join([first])
    digest = draft.tree.digest
    for parts in ([first], [again], [first, again], []):
        draft.join(parts)
        assert draft.tree.digest == digest


@pytest.mark.parametrize("together", [True, False])
def test_different_content_at_one_path_is_a_conflict_that_names_both(draft, tmp_path, together):
    """Nothing is joined then; the same content is no conflict."""
    tokens = draft.fork(3)
    same, mine, theirs = (fill(tmp_path / name, ["x", f"of-{name}"]) for name in ("same", "mine", "theirs"))
    parts = [added(token, folder) for token, folder in zip(tokens, (mine, mine, theirs), strict=True)]
    digest = draft.tree.digest
    if together:
        with pytest.raises(Conflict, match="worker 0 and worker 2 added different content at 'x'"):
            draft.join(parts)
    else:
        draft.join(parts[:2])
        digest = draft.tree.digest
        with pytest.raises(Conflict, match="'x' of worker 2 differs from what an edit"):
            draft.join(parts[2:])
    assert draft.tree.digest == digest
    assert same.exists()


def test_a_file_and_a_folder_of_one_name_are_a_conflict(draft, tmp_path):
    """Between workers, and between a worker and the draft."""
    (token,) = draft.fork(1)
    file = added(token, fill(tmp_path / "file", ["x", "x-1"]), name="one")
    folder = added(token, fill(tmp_path / "folder", ["x/y"]), name="two")
    with pytest.raises(Conflict, match="one and two added a file and a folder at 'x'"):
        draft.join([folder, file])
    draft.join([folder])
    with pytest.raises(Conflict, match="'x"):
        draft.join([file])
    (token,) = draft.fork(1)
    with pytest.raises(Conflict, match="the draft and three added a folder and a file"):
        draft.join([added(token, fill(tmp_path / "third", ["x"]), name="three")])


@pytest.mark.parametrize("edit", ["replaced", "removed"])
def test_a_path_added_as_it_was_at_the_fork_states_its_content(repo, draft, tmp_path, edit):
    """An edit of the draft does not win silently, neither alone nor beside another part; equal edits may."""
    old = fill(tmp_path / "old", ["x", "y", "e/f"])
    draft.add(old)
    draft.finalize("old")
    child = repo.create("d", parents=draft.upload().version.ref, workspace=tmp_path / "child")
    (token,) = child.fork(1)
    part, other = added(token, old), added(token, fill(tmp_path / "new", "z"))
    child.remove("**") if edit == "removed" else child.add(fill(tmp_path / "edit", "y"))
    digest = child.tree.digest
    path = "e/f" if edit == "removed" else "y"
    for parts in ([part], [part, other], [other, part]):
        with pytest.raises(Conflict, match=f"'{path}' of worker 0 differs from what an edit") as caught:
            child.join(parts)
        assert "fork the draft again" in caught.value.hint
        assert child.tree.digest == digest
    child.join([other])
    child.add(old)  # agrees again
    assert child.join([part]).entries == 3
    assert {entry.path for entry in child.tree.iterate()} == {"x", "y", "e/f", "z"}


@pytest.mark.parametrize("reopened", [False, True])
def test_a_part_that_leaves_a_path_as_it_was_contradicts_a_later_one(repo, draft, tmp_path, reopened):
    """Joined one after the other as well as together; the draft is read from its files in between."""
    old = fill(tmp_path / "old", ["x", "y"])
    draft.add(old)
    draft.finalize("old")
    child = repo.create("d", parents=draft.upload().version.ref, workspace=tmp_path / "child")
    tokens = child.fork(3)
    same, other = added(tokens[0], old), added(tokens[1], fill(tmp_path / "new", ["y", "z"]))
    third = added(tokens[2], fill(tmp_path / "third", ["w"]))
    with pytest.raises(Conflict, match="worker 0 and worker 1 added different content at 'y'"):
        child.join([same, other])
    child.join([same])
    child.join([same, third])
    if reopened:
        child = repo.draft(child.id, workspace=tmp_path / "child")
    digest = child.tree.digest
    for parts in ([other], [other, third]):
        with pytest.raises(Conflict, match="'y' of worker 1 differs from what an edit of the draft"):
            child.join(parts)
    assert child.tree.digest == digest


def test_an_empty_folder_that_the_draft_has_filled_is_no_conflict(repo, draft, tmp_path):
    """A folder that a worker adds empty exists; one that was removed differs."""
    (tmp_path / "old/e").mkdir(parents=True)
    draft.add(tmp_path / "old")
    (token,) = draft.fork(1)
    part = added(token, tmp_path / "old")
    draft.add(fill(tmp_path / "new", ["e/f"]))
    draft.join([part])
    assert [entry.path for entry in draft.tree.iterate()] == ["e/f"]
    draft.remove("e/f")
    with pytest.raises(Conflict, match="'e' of worker 0"):
        draft.join([part])


def test_workers_build_on_the_draft_as_it_was_forked(repo, draft, tmp_path):
    """Files of the parent are kept, replaced ones are replaced, and edits of the driver meanwhile stay."""
    draft.add(fill(tmp_path / "old", "abcd"))
    draft.finalize("old")
    parent = draft.upload().version
    child = repo.create("d", parents=parent.ref, workspace=tmp_path / "child")
    child.remove("a")
    (token,) = child.fork(1)
    child.remove("b")
    new = fill(tmp_path / "new", "cd")
    (new / "a").write_bytes((tmp_path / "old" / "a").read_bytes())
    child.join([added(token, new)])
    assert {entry.path for entry in child.tree.iterate()} == {"a", "c", "d"}
    child.finalize("new")
    version = child.upload().version
    assert {name: version.read(name) for name in "acd"} == {name: (new / name).read_bytes() for name in "acd"}


def test_a_worker_sends_only_what_the_parent_lacks(repo, draft, tmp_path, monkeypatch):
    """On a machine that has never seen the repository."""
    folder = fill(tmp_path / "src", ["big"], size=2_000_000)
    draft.add(folder)
    draft.finalize("old")
    draft.upload()
    with (folder / "big").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"changed")
    child = repo.create("d", parents="d@latest", workspace=tmp_path / "child")
    (token,) = child.fork(1)
    before = stored(repo)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "another-machine"))
    child.join([added(token, folder)])
    assert 0 < stored(repo) - before < 150_000
    child.finalize("new")
    assert child.upload().version.read("big") == (folder / "big").read_bytes()


def test_streams_and_tables(repo, draft):
    """A worker writes files without a local copy; tables of any kind are read back."""
    table = pa.table({"n": range(3000), "x": [number * 0.5 for number in range(3000)]})
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        with worker.open("log.txt") as file:
            file.write(b"hello")
        for number, each in enumerate((table, table.to_reader(1000), table.to_batches()[0])):
            worker.add_dataframe(each, f"t/{number}.parquet", compression="zstd")
        with pytest.raises(InvalidInput, match="a list cannot be written as Parquet"):
            worker.add_dataframe([1], "t/3.parquet")
        draft.join([worker.finish()])
    draft.finalize("x")
    version = draft.upload().version
    assert version.read("log.txt") == b"hello"
    for number in range(3):
        assert parquet.read_table(pa.BufferReader(version.read(f"t/{number}.parquet"))) == table
    assert version.file_count == 4


def test_two_versions_of_a_table_share_their_chunks(repo, draft):
    """Also compressed: rows that are removed change the pages around them only."""
    table = pa.table({"n": [hash((number, "n")) for number in range(300_000)]})
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        worker.add_dataframe(table, "a")
        before = stored(repo)
        worker.add_dataframe(pa.concat_tables([table.slice(0, 100_000), table.slice(100_010)]), "b")
        assert stored(repo) - before < before / 3


def test_files_at_paths_of_their_own(draft, tmp_path):
    """They share a pack; a folder in place of a file, and one that is missing, are refused."""
    folder = fill(tmp_path / "src", map(str, range(20)))
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        report = worker.add_files((path, f"of/{path.name}/x") for path in folder.iterdir())
        assert report.files == 20
        assert report.sent_packs == 1
        assert report.sent_size > 20 * 3000 and report.seconds > 0
        part = worker.finish()
        assert part.packs == 1
        with pytest.raises(PathNotFound):
            worker.add_files([(folder / "none", "x")])
        with pytest.raises(InvalidInput, match=r"\.\."):
            worker.add_files([(folder / "0", "../x")])
        with pytest.raises(InvalidInput, match="src is a folder"):
            worker.add_files([(folder / "0", "y"), (folder, "x")])
        assert worker.finish().tree == part.tree
    draft.join([part])
    assert draft.tree.get("of/7/x").size == 3000


def changed(token, **values):
    return json.dumps(json.loads(token) | values, sort_keys=True, separators=(",", ":"))


def test_tokens_that_are_refused(repo, draft, tmp_path):
    """Tampered, cut off, of another repository, of a repository that is gone, expired: one sentence each."""
    (token,) = draft.fork(1)
    other = dataver.init(tmp_path / "other")
    (foreign,) = other.create("d", workspace=tmp_path / "w").fork(1)
    (expired,) = draft.fork(1, hours=1e-7)
    until(lambda: store_now(repo._core.store) > parse_token(expired).expires)
    late = (datetime.now(UTC) + DAY).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for bad, said in (
        (changed(token, expires=late), "was changed after it was made"),
        (changed(token, draft="0" * 12), "was changed after it was made"),
        (changed(foreign, url=repo.url), "made for another repository"),
        (token[:-9], "not a token"),
        ("{}", "not a token"),
        ("é\0", "not a token"),
        (expired, "expired at"),
    ):
        with pytest.raises(InvalidInput, match=said) as refused:
            dataver.join_draft(bad)
        assert refused.value.hint
    with pytest.raises(NotFound, match="is not a dataver repository"):
        dataver.join_draft(changed(token, url=str(tmp_path / "nowhere")))
    for count, hours in ((0, 1), (1, 0), (1, 25), ("2", 1), (1, "2")):
        with pytest.raises(InvalidInput, match="cannot be forked"):
            draft.fork(count, hours=hours)
    assert not list((private_cache_root() / "workers").glob("*"))


def test_parts_that_are_refused(repo, draft, tmp_path):
    """Of another draft, damaged, or no longer there."""
    folder = fill(tmp_path / "src", map(str, range(400)), 10)
    (token,) = draft.fork(1)
    part = added(token, folder)
    another = repo.create("e", workspace=tmp_path / "e")
    with pytest.raises(InvalidInput, match=f"belongs to draft {draft.id}, not to draft {another.id}"):
        another.join([part])
    for text in ("{}", "x", changed(part.to_json(), tree="x")):
        with pytest.raises(InvalidInput, match="not a part"):
            dataver.Part.from_json(text)
    with pytest.raises(IntegrityError, match="lacks the block"):
        draft.join([dataver.Part.from_json(changed(part.to_json(), tree="ab" * 32))])
    stored = Path(repo.url) / part_key(draft.id, part.key.rpartition("/")[2])
    data = stored.read_bytes()
    stored.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match="do not have its digest"):
        draft.join([part])
    stored.unlink()
    with pytest.raises(IntegrityError, match="the part of worker 0 is no longer in"):
        draft.join([part])


def test_a_part_that_would_be_too_large_to_join(repo, draft, tmp_path, monkeypatch):
    """`finish` refuses it, and leaves nothing in the repository."""
    (token,) = draft.fork(1)
    folder = fill(tmp_path / "src", map(str, range(400)), 10)
    monkeypatch.setattr("dataver.ingest.fork.MAX_BLOCKS", 10_000)
    with pytest.raises(
        InvalidInput, match=r"the 400 entries that worker 0 added take .* at most 10,000"
    ) as caught:
        added(token, folder)
    assert caught.value.hint == "divide the files among more workers"
    assert [path.name[:5] for path in (Path(repo.url) / "keeping/parts").rglob("*") if path.is_file()] == [
        "fork-"
    ]


@pytest.mark.parametrize("skew", [-30 * DAY, 30 * DAY])
def test_a_worker_with_a_wrong_clock(repo, draft, tmp_path, monkeypatch, skew):
    """Only the store's clock counts: a valid token is accepted, an expired one refused."""
    valid, expired = draft.fork(1)[0], draft.fork(1, hours=1e-7)[0]

    class Skewed(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + skew

    real = time.time
    monkeypatch.setattr("dataver.machine.store_clock.datetime", Skewed)
    monkeypatch.setattr("dataver.ingest.draft.datetime", Skewed)
    monkeypatch.setattr(time, "time", lambda: real() + skew.total_seconds())
    part = added(valid, fill(tmp_path / "src", "ab"))
    with pytest.raises(InvalidInput, match="expired at"):
        dataver.join_draft(expired)
    monkeypatch.undo()
    assert draft.join([part]).entries == 2


def never_ends(token, folder):
    """Add a folder, and wait for the end."""
    worker = dataver.join_draft(token)
    worker.add(folder)
    signal.pause()


def test_a_worker_that_is_killed_leaves_nothing_visible(repo, draft, tmp_path):
    """Its packs are swept after the grace period; its folder goes when the next worker begins."""
    tokens = draft.fork(2)
    process = multiprocessing.get_context("spawn").Process(
        target=never_ends, args=(tokens[0], fill(tmp_path / "lost", "abc"))
    )
    process.start()
    until(lambda: packs(repo))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (left,) = packs(repo)
    assert len(list((private_cache_root() / "workers").glob("*"))) == 1
    draft.join([added(tokens[1], fill(tmp_path / "src", "xy"))])
    assert not list((private_cache_root() / "workers").glob("*"))
    draft.finalize("x")
    assert {entry.path for entry in draft.upload().version.entries()} == {"x", "y"}
    repo.gc(grace=timedelta(0), delete_most=True)
    assert left not in packs(repo)
    assert repo.verify().ok


def test_a_discarded_draft_takes_its_parts_along(repo, draft, tmp_path):
    """The packs are left to gc."""
    (token,) = draft.fork(1)
    part = added(token, fill(tmp_path / "src", map(str, range(300)), 100))
    assert (Path(repo.url) / part.key).exists()
    draft.discard()
    assert not (Path(repo.url) / part.key).exists()


def test_a_worker_that_may_not_write(repo, draft, tmp_path, monkeypatch):
    """It says so before it reads a file."""
    from dataver.storage import LocalStore

    def refused(*_):
        raise StoreError("permission denied.")

    (token,) = draft.fork(1)
    monkeypatch.setattr(LocalStore, "put", refused)
    with pytest.raises(StoreError, match=r"this worker cannot write to .*: permission denied"):
        dataver.join_draft(token)


def test_a_sealed_draft_takes_no_parts(repo, draft, tmp_path):
    """Neither forks nor joins; the message names the next step."""
    (token,) = draft.fork(1)
    part = added(token, fill(tmp_path / "src", "ab"))
    draft.join([part])
    draft.finalize("x")
    for call in (lambda: draft.fork(1), lambda: draft.join([part])):
        with pytest.raises(Conflict, match="was finalized"):
            call()


def test_files_of_one_folder_share_a_pack(draft, tmp_path):
    """A list of files costs as many packs as their folder."""
    folder = fill(tmp_path / "src", map(str, range(20)))
    draft.add(*folder.iterdir())
    assert len([path for path in draft._core.spool.iterdir() if len(path.name) == 64]) == 1


def test_a_closed_worker(draft, tmp_path):
    """Its methods say so, and make no folder; closing it twice closes no other file."""
    (token,) = draft.fork(1)
    folder = fill(tmp_path / "src", "a")
    with dataver.join_draft(token) as worker:
        worker.add(folder)
        worker.close()
        with (tmp_path / "other").open("wb") as other:  # has the descriptor of the lock
            worker.close()
            other.write(b"x")
    for use in (
        worker.finish,
        lambda: worker.add(folder),
        lambda: worker.add_files([(folder / "a", "b")]),
        lambda: worker.open("b"),
        lambda: worker.add_dataframe(pa.table({"n": [1]}), "b"),
    ):
        with pytest.raises(InvalidInput, match="this worker is closed") as caught:
            use()
        assert caught.value.hint == "call finish() inside the with block"
    assert not list((private_cache_root() / "workers").iterdir())


@pytest.mark.parametrize("wrong", ["a part", "text", "texts"])
def test_what_is_no_part_is_refused(draft, tmp_path, wrong):
    """One part instead of a list, and JSON."""
    (token,) = draft.fork(1)
    part = added(token, fill(tmp_path / "src", "a"))
    given = {"a part": part, "text": part.to_json(), "texts": [part.to_json()]}[wrong]
    with pytest.raises(InvalidInput, match="not a list of parts") as caught:
        draft.join(given)
    assert caught.value.hint == "give a list of parts; `dataver.Part.from_json` reads JSON"
    assert draft.join([part]).entries == 1


def test_a_locked_folder_of_a_live_process_stays(tmp_path):
    """Another process's next worker does not take it away."""
    one = LockedFolder(tmp_path)
    two = LockedFolder(tmp_path)
    assert one.path.exists() and two.path.exists()
    one.remove()
    two.remove()
    assert not list(tmp_path.iterdir())


def test_the_program_in_the_documentation(tmp_path):
    """docs/engines.md, *Any processes*, runs as it is written."""
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text("utf-8")
    (tmp_path / "program.py").write_text(page.split("```python\n")[1].split("```")[0])
    for name in ("june", "july"):
        fill(tmp_path / name, "abc")
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "JoinReport(parts=2, entries=6, size=18000)\nphotos@1.0.0\n", done.stderr
