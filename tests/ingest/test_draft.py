"""Drafts: what a command did survives, what it could not do is said, and nothing else changes."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

import dataver
from dataver.errors import AlreadyExists, Conflict, InvalidInput, NotFound, PathNotFound
from dataver.formats.compression import make_decompressor
from dataver.formats.frame import decode_frames
from dataver.hashing import digest
from dataver.ingest import draft_store, pack_file, stat_cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    for number in range(30):
        write(folder / f"sub{number % 3}" / f"f{number:02d}.txt", f"content {number} " * (number * 40 + 1))
    write(folder / "big.bin", os.urandom(3_000_000))
    write(folder / "empty.txt", "")
    return folder


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def stored(version):
    """Read every file straight from its extents, past everything `checkout` does."""
    repository, decompressor = version._repository, make_decompressor()
    found = {}
    for entry in version.entries():
        data = b""
        for extent in entry.extents:
            frames = memoryview(repository.packs.read(extent.pack, extent.offset, extent.stored))
            raw = b"".join(decode_frames(frames, decompressor))
            data += raw[extent.skip : extent.skip + extent.length]
        assert digest(data) == entry.digest
        found[entry.path] = data
    return found


def published(repo, name, folder, **options):
    draft = repo.create(name, **options)
    draft.add(folder)
    draft.finalize("first")
    return draft.upload().version


def test_what_was_added_is_what_is_read_back(repo, source):
    """Create, add, finalize, upload, read: every byte."""
    version = published(repo, "d", source)
    assert version.ref == "d@1.0.0"
    assert stored(version) == contents(source)
    assert repo.version("d").digest == version.digest
    assert (version.file_count, version.size) == (32, sum(map(len, contents(source).values())))


def test_an_uploaded_draft_still_tells_its_changes(repo, source):
    """The tree that a draft started from stays readable, also where no version has it."""
    first = repo.create("d")
    first.add(source / "big.bin")
    first.finalize()
    first.upload()
    published(repo, "e", source / "sub0")
    merged = repo.create("m", parents=["d@1.0.0", "e@1.0.0"])
    merged.add(source / "sub1")
    merged.finalize()
    merged.upload()
    for draft, added in ((first, 1), (merged, 10)):
        for each in (draft, repo.draft(draft.id)):
            assert len(each.status().added) == added
        assert each.portability() == []


def test_added_bytes_are_safe_from_later_edits(repo, source):
    """Invariant 6: editing, or deleting, the source after `add` changes nothing."""
    draft = repo.create("d")
    draft.add(source)
    before = contents(source)
    write(source / "big.bin", b"other")
    shutil.rmtree(source / "sub0")
    draft.finalize()
    assert stored(draft.upload().version) == before


def test_a_child_stores_only_its_differences(repo, source):
    """A small edit in a large file costs a few chunks; everything else is shared with the parent."""
    published(repo, "d", source)
    data = bytearray((source / "big.bin").read_bytes())
    data[1_500_000:1_500_010] = b"edited!!!!"
    write(source / "big.bin", bytes(data))
    draft = repo.create("d", parents="d@1.0.0")
    report = draft.add(source)
    assert report.new_size < 200_000
    assert report.unchanged == 31
    assert [change.path for change in draft.status().modified] == ["big.bin"]
    draft.finalize()
    version = draft.upload().version
    assert version.ref == "d@1.0.1"
    assert [parent.label for parent in version.parents] == ["1.0.0"]
    assert stored(version) == contents(source)


def test_dedup_works_across_datasets_and_without_the_local_index(repo, source, tmp_path):
    """The index is a hint: with it a second dataset costs nothing; without it, correctness stays."""
    published(repo, "one", source)
    draft = repo.create("two")
    assert draft.add(source).new_size == 0
    draft.discard()
    shutil.rmtree(tmp_path / "cache")
    assert stored(published(repo, "three", source)) == contents(source)


def test_a_parents_footers_serve_a_machine_that_never_saw_them(repo, source, tmp_path):
    """Known chunks: the packs that hold the parent's version of a path are learned from their footers."""
    published(repo, "d", source)
    shutil.rmtree(tmp_path / "cache")
    data = (source / "big.bin").read_bytes()
    write(source / "big.bin", b"front" + data)
    draft = repo.create("d", parents="d@latest")
    assert draft.add(source / "big.bin").new_size < 200_000


def test_adding_again_reads_nothing_when_stat_values_agree(repo, source, monkeypatch):
    """Unchanged files are recognised by their stat values alone."""
    past = time.time() - 1000
    for path in source.rglob("*"):
        os.utime(path, (past, past))
    draft = repo.create("d")
    draft.add(source)
    monkeypatch.setattr(stat_cache, "RACY_NS", 0)  # nothing can set the files' ctime back
    draft.add(source)
    opened = []
    monkeypatch.setattr(
        os, "open", lambda *args, real=os.open, **kw: opened.append(args[0]) or real(*args, **kw)
    )
    report = draft.add(source)
    assert report.unchanged == report.files == 32
    assert not [name for name in opened if str(source) in str(name)]


def test_sync_mirrors_deletions_and_remove_and_move_edit(repo, source):
    """The draft's tree follows the folder, the globs and the renames."""
    draft = repo.create("d")
    draft.add(source, dest="train")
    shutil.rmtree(source / "sub1")
    report = draft.sync(source, "train")
    assert report.removed == 10
    assert len(draft.remove("train/sub2/**")) == 10
    assert draft.move("train/sub0", "test/zero") == 10
    assert draft.move("train/empty.txt", "void") == 1
    paths = [entry.path for entry in draft.tree.iterate()]
    assert paths[:2] == ["test/zero/f00.txt", "test/zero/f03.txt"]
    assert paths[-2:] == ["train/big.bin", "void"]


def test_mirroring_keeps_what_could_not_be_looked_at(repo, source):
    """A folder that cannot be listed is reported, not taken for deleted."""
    draft = repo.create("d")
    draft.add(source)
    os.mkfifo(source / "pipe")
    (source / "sub0" / "f00.txt").unlink()
    os.mkfifo(source / "sub0" / "f00.txt")
    report = draft.sync(source)
    assert report.removed == 0
    assert len(report.problems) == 2
    assert draft.tree.get("sub0/f00.txt") is not None


def test_renames_cost_nothing_and_show_as_renames(repo, source):
    """Content is found under any name."""
    published(repo, "d", source)
    (source / "big.bin").rename(source / "large.bin")
    result = repo.sync(source, "d")
    assert result.add.new_size == 0
    difference = repo.diff("d@1.0.0", "d@1.0.1")
    assert [(old.path, new.path) for old, new in difference.renamed] == [("big.bin", "large.bin")]
    assert not difference.added and not difference.removed


def test_sync_in_one_step_makes_nothing_when_nothing_changed(repo, source):
    """A child of the latest version that mirrors the folder, or no version at all."""
    assert repo.sync(source, "d", message="one").version.ref == "d@1.0.0"
    assert repo.sync(source, "d").version is None
    (source / "empty.txt").unlink()
    assert repo.sync(source, "d").version.ref == "d@1.0.1"
    assert stored(repo.version("d")) == contents(source)
    assert repo.drafts() == []


def test_a_folder_replaces_a_file_and_an_empty_folder(repo, tmp_path):
    """What the source looks like now is what the draft holds."""
    folder = tmp_path / "s"
    write(folder / "a", "file")
    (folder / "hollow").mkdir()
    draft = repo.create("d")
    draft.add(folder)
    (folder / "a").unlink()
    write(folder / "a" / "b", "inside")
    write(folder / "hollow" / "c", "filled")
    draft.add(folder)
    assert [entry.path for entry in draft.tree.iterate()] == ["a/b", "hollow/c"]


def test_a_file_does_not_bury_a_folder(repo, tmp_path):
    """Adding a file where the draft has a folder is refused by name; nothing is lost."""
    write(tmp_path / "one" / "a" / "b", "x")
    write(tmp_path / "two" / "a", "y")
    draft = repo.create("d")
    draft.add(tmp_path / "one")
    report = draft.add(tmp_path / "two")
    assert [name for name, _ in report.problems] == ["a"]
    assert [entry.path for entry in draft.tree.iterate()] == ["a/b"]


def test_no_command_makes_a_path_a_file_and_a_folder(repo, tmp_path):
    """A move is refused; what is written, mirrored or merged later takes the other's place."""
    write(tmp_path / "one" / "f", "x")
    write(tmp_path / "one" / "k", "y")
    write(tmp_path / "two" / "f" / "g", "z")
    draft = repo.create("d")
    draft.add(tmp_path / "one")
    with pytest.raises(InvalidInput, match="'f' cannot be a file and the folder of 'f/g'"):
        draft.move("k", "f/g")
    assert list(draft.tree.paths()) == ["f", "k"]
    with draft.open("k/l", "wb") as file:
        file.write(b"w")
    assert list(draft.tree.paths()) == ["f", "k/l"]
    assert draft.sync(tmp_path / "two").removed == 2
    assert list(draft.tree.paths()) == ["f/g"]
    assert draft.sync(tmp_path / "one").removed == 1
    assert list(draft.tree.paths()) == ["f", "k"]
    published(repo, "one", tmp_path / "one")
    published(repo, "two", tmp_path / "two")
    assert list(repo.create("m", parents=["one", "two"]).tree.paths()) == ["f/g", "k"]
    assert list(repo.create("m", parents=["two", "one"]).tree.paths()) == ["f", "k"]


def test_an_empty_change_is_refused_unless_told(repo, source):
    """`finalize` says so and leaves the draft open."""
    published(repo, "d", source)
    draft = repo.create("d", parents="d")
    with pytest.raises(InvalidInput, match=r"changes nothing since d@1\.0\.0"):
        draft.finalize()
    assert not draft.sealed
    assert draft.finalize(allow_empty=True).digest == repo.version("d").digest


def test_finalize_and_upload_can_be_repeated(repo, source):
    """The second time is a no-op that says so."""
    draft = repo.create("d")
    draft.add(source)
    assert draft.finalize("a").digest == draft.finalize("b").digest
    first = draft.upload()
    again = repo.draft(draft.id).upload()
    assert not first.already and again.already
    assert again.version == first.version
    assert repo._core.records.labels("d") == ["1.0.0"]


def test_a_finalized_draft_does_not_change(repo, source):
    """One clear sentence."""
    draft = repo.create("d")
    draft.add(source)
    draft.finalize()
    for change in (lambda: draft.add(source), lambda: draft.remove("*"), lambda: draft.move("big.bin", "x")):
        with pytest.raises(Conflict, match="finalized"):
            change()


def test_a_label_that_is_taken_is_a_conflict_and_an_automatic_one_moves_on(repo, source):
    """Nothing is overwritten."""
    drafts = [repo.create("d") for _ in range(3)]
    for number, draft in enumerate(drafts):
        write(source / "n", str(number))
        draft.add(source)
    drafts[0].finalize(label="1.0.0")
    drafts[1].finalize(label="1.0.0")
    drafts[2].finalize()
    drafts[0].upload()
    with pytest.raises(Conflict, match=r"d@1\.0\.0 is already published"):
        drafts[1].upload()
    assert drafts[2].upload().version.label == "1.0.1"


def test_several_drafts_can_be_open_and_named(repo, source):
    """The current one belongs to the folder; others are named by id or prefix."""
    one, two = repo.create("a"), repo.create("b")
    assert repo.draft().id == two.id
    assert repo.draft(one.id[:6]).dataset == "a"
    assert [draft.id for draft in repo.drafts()] == [one.id, two.id]
    two.discard()
    with pytest.raises(NotFound, match="no current draft"):
        repo.draft()


def test_later_parents_win_and_conflicts_are_listed(repo, tmp_path):
    """Two parents without a common ancestor: everything either holds; with one: removals count."""
    write(tmp_path / "one" / "same", "1")
    write(tmp_path / "one" / "left", "l")
    write(tmp_path / "two" / "same", "2")
    write(tmp_path / "two" / "right", "r")
    published(repo, "a", tmp_path / "one")
    published(repo, "b", tmp_path / "two")
    draft = repo.create("c", parents=["a", "b"])
    assert draft.conflicts == ["same"]
    draft.finalize(allow_empty=True)
    merged = draft.upload().version
    assert stored(merged) == {"left": b"l", "right": b"r", "same": b"2"}
    child = repo.create("a", parents="a")
    child.remove("left")
    child.finalize()
    child.upload()
    again = repo.create("c", parents=["c@1.0.0", "a@1.0.1"])
    assert [entry.path for entry in again.tree.iterate()] == ["right", "same"]


def test_unknown_parents_sources_and_patterns_are_errors(repo, source):
    """Each by its own sentence, and the draft is as it was."""
    with pytest.raises(NotFound, match="no dataset 'x'"):
        repo.create("d", parents="x")
    draft = repo.create("d")
    draft.add(source)
    with pytest.raises(PathNotFound):
        draft.add(source, "no-such-place")
    with pytest.raises(NotFound, match=r"\*\.xyz"):
        draft.remove("sub0/**", "*.xyz")
    with pytest.raises(NotFound):
        draft.move("nothing", "x")
    with pytest.raises(InvalidInput, match="already"):
        draft.move("big.bin", "empty.txt")
    with pytest.raises(InvalidInput, match="into itself"):
        draft.move("sub0", "sub0/deeper")
    assert len(list(draft.tree.iterate())) == 32


def test_a_file_that_keeps_changing_is_refused_by_name(repo, source, monkeypatch):
    """And the others are added."""
    target = source / "big.bin"
    real = os.fstat
    inode = target.stat().st_ino

    def restless(fd):
        status = real(fd)
        if status.st_ino == inode:
            with open(target, "ab") as file:
                file.write(b"more")
            return real(fd)
        return status

    monkeypatch.setattr(os, "fstat", restless)
    report = repo.create("d").add(source)
    assert [(name, "kept changing" in why) for name, why in report.problems] == [(str(target), True)]
    assert report.files == 31


def test_new_blocks_need_not_be_in_memory(repo, source, monkeypatch):
    """Those beyond a limit are written before the command ends; the version is the same."""
    expected = repo.sync(source, "expected").version
    monkeypatch.setattr(draft_store, "_FRESH", 0)
    draft = repo.create("d", parents=[])
    draft.add(source)
    draft.remove("sub0/**")
    draft.add(source)
    draft.finalize()
    version = draft.upload().version
    assert version.digest == expected.digest
    assert stored(version) == contents(source)


def test_many_paths_are_removed_in_several_edits(repo, source, monkeypatch):
    """The tree is that of one edit."""
    monkeypatch.setattr("dataver.ingest.draft._TOGETHER", 3)
    draft = repo.create("d")
    draft.add(source)
    draft.remove("sub0/**")
    other = repo.create("e")
    other.add(source / "sub1", dest="sub1")
    other.add(source / "sub2", dest="sub2")
    other.add(source / "big.bin", source / "empty.txt")
    assert draft.tree.digest == other.tree.digest


@pytest.mark.slow
def test_a_crash_after_any_write_leaves_the_draft_as_before_or_after(repo, source, tmp_path):
    """Kill -9 at moments spread over an `add`: the next command works, nothing earlier is lost."""
    draft = repo.create("d")
    draft.add(source / "sub0", dest="sub0")
    script = (
        "import sys, dataver; dataver.open(sys.argv[1]).draft(sys.argv[2]).add(sys.argv[3]); print('done')"
    )
    for delay in (0.15, 0.25, 0.3, 0.35, 0.4, 0.5):
        command = [sys.executable, "-c", script, str(tmp_path / "repo"), draft.id, str(source)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        paths = [entry.path for entry in repo.draft(draft.id).tree.iterate()]
        assert len(paths) in (10, 32)
    fresh = repo.draft(draft.id)
    fresh.add(source)
    fresh.finalize()
    assert stored(fresh.upload().version) == contents(source)


def test_a_full_disk_is_one_sentence_and_the_draft_goes_on_later(repo, source, monkeypatch):
    """The writer's failure reaches the caller; a retry succeeds."""
    draft = repo.create("d")
    real = os.writev

    def full(fd, parts):
        if sum(map(len, parts)) > 100_000:
            raise OSError(28, "No space left on device")
        return real(fd, parts)

    monkeypatch.setattr(pack_file.os, "writev", full)
    with pytest.raises(dataver.StoreError, match="No space left on device"):
        draft.add(source)
    monkeypatch.undo()
    os.environ["DATAVER_CACHE"] = str(source.parent / "cache")
    assert len(list(draft.tree.iterate())) == 0
    assert not list(draft._core.spool.glob(".tmp-*"))
    draft.add(source)
    assert len(list(draft.tree.iterate())) == 32


def test_a_second_init_in_the_same_place_is_refused(repo, tmp_path):
    """A repository is never made over another one, nor over other files."""
    with pytest.raises(AlreadyExists):
        dataver.init(tmp_path / "repo")
    write(tmp_path / "mine" / "thesis.doc", "x")
    with pytest.raises(InvalidInput, match=r"thesis\.doc"):
        dataver.init(tmp_path / "mine")


def test_a_draft_never_goes_to_another_repository(repo, source, tmp_path):
    """Its packs rely on what that repository holds."""
    draft = repo.create("d")
    other = dataver.init(tmp_path / "other")
    with pytest.raises(InvalidInput, match="belongs to the repository"):
        other.draft(draft.id)


def test_a_one_step_sync_that_meets_a_taken_label_leaves_no_draft(repo, source):
    """The conflict is told, and nothing waits to be cleaned up."""
    repo.sync(source, "d", label="gold")
    (source / "empty.txt").unlink()
    with pytest.raises(Conflict):
        repo.sync(source, "d", label="gold")
    assert repo.drafts() == []


def test_a_tag_notices_a_replaced_record(repo, source):
    """A tag names one record, not whatever stands under its label."""
    repo.sync(source, "d")
    repo.tag("d", "production")
    (source / "empty.txt").unlink()
    other = dataver.init(source.parent / "other")
    other.sync(source, "d")
    record = other._core.store.get("datasets/d/versions/1.0.0.json")
    repo._core.store.put("datasets/d/versions/1.0.0.json", record)
    with pytest.raises(dataver.IntegrityError, match="production"):
        repo.version("d@production")


@pytest.mark.parametrize("verb", ["add", "sync", "add_external", "plan_external"])
def test_a_pattern_to_include_that_matches_nothing_is_refused_by_name(repo, tmp_path, verb):
    """Nothing is added, whatever the other patterns match; what ignore files hide does not count."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.jpg", "b.txt", "hidden.tmp"):
        (folder / name).write_text(name)
    (folder / ".dataverignore").write_text("*.tmp\n")
    draft = repo.create("d")
    with pytest.raises(PathNotFound, match=r"'\*\.jpeg', '\*\.tmp'; nothing was added"):
        getattr(draft, verb)(folder, include=["*.jpg", "*.jpeg", "*.tmp", "!b.*"], dest="in")
    assert draft.tree.summary().entries == 0
    report = getattr(draft, verb)(folder, include=["*.jpg", "!b.*"], dest="in")
    assert report.files == 1


def test_a_pattern_to_include_may_match_in_any_of_the_sources(repo, tmp_path):
    """Of several sources each pattern has to match something in one."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    draft = repo.create("d")
    assert draft.add(tmp_path / "one", tmp_path / "b.txt", include=["*.jpg", "b.txt"]).files == 2


def test_a_thread_that_asks_for_the_version_waits_for_one_that_adds(repo, tmp_path):
    """Reading the draft again in the middle would mix two states of its tree."""
    draft = repo.create("d", workspace=tmp_path)

    def ask():
        with pytest.raises(InvalidInput):
            draft.version()

    with draft._core.changing():
        state = draft._core.state
        other = threading.Thread(target=ask)
        other.start()
        other.join(0.2)  # nothing tells that it waits
        assert draft._core.state is state
    other.join()
    draft.discard()
    with pytest.raises(NotFound):
        draft.version()
    assert not draft._core.folder.exists()
