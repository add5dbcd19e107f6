"""Files in a folder elsewhere: recorded, fetched, read in part, verified; and told of when they change."""

import os
import shutil

import pytest

import dataver
from dataver.checkout.reading import read_file
from dataver.errors import Conflict, IntegrityError, PathNotFound
from dataver.formats.entry import is_external
from dataver.repository.read_again import ExternalChanged

from .conftest import contents


def test_nothing_is_copied_and_everything_comes_back(filled):
    """A version of files elsewhere is fetched whole, while the repository holds none of their bytes."""
    version = filled.record()
    assert filled.objects("packs") == []
    stored = sum(path.stat().st_size for path in (filled.root / "repo").rglob("*") if path.is_file())
    assert stored < 50_000
    report = filled.fresh().fetch("ext", dest=filled.root / "out")
    assert contents(report.path) == contents(filled.raw)
    assert os.access(report.path / "run.sh", os.X_OK) and (report.path / "hollow").is_dir()
    assert {extent.pack for extent in version.entry("large").extents} != {
        version.entry("run.sh").extents[0].pack
    }


@pytest.mark.slow
def test_a_file_longer_than_an_external_pack(world):
    """At the size at which packs end for users, a file begins in one external pack and ends in another."""
    world.write("large", 70_000_000)
    version = world.record()
    assert len({extent.pack for extent in version.entry("large").extents}) == 2
    report = world.fresh().fetch("ext", dest=world.root / "out")
    assert contents(report.path) == contents(world.raw)


def test_equal_content_has_an_equal_digest(filled):
    """Where the bytes lie is no part of a version's name."""
    version = filled.record()
    other = dataver.init(filled.root / "other")
    draft = other.create("plain", workspace=filled.root)
    draft.add(filled.raw)
    assert draft.finalize().digest == version.digest


def test_parts_are_read_and_checked_alone(filled):
    """A range of a large file reads the pieces that hold it; bytes beyond may have changed."""
    filled.record()
    whole = (filled.raw / "large").read_bytes()
    with (filled.raw / "large").open("r+b") as file:
        file.seek(9_000_000)
        file.write(b"other")
    repo = filled.fresh()
    entry = repo.version("ext").entry("large")
    for start, length in [(0, 1), (5_000_000, 3_000_000), (1_048_575, 2), (10_999_990, 10)]:
        assert b"".join(read_file(repo._core, entry, start, length)) == whole[start : start + length]
    with pytest.raises(ExternalChanged, match="large"):
        list(read_file(repo._core, entry, 8_950_000, 100_000))


def changed_bytes(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    when = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))  # it does not look changed at all


def truncated(path):
    os.truncate(path, path.stat().st_size - 1)


def grown(path):
    with path.open("ab") as file:
        file.write(b"more")


def piped(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "change", [changed_bytes, truncated, grown, os.unlink, piped], ids=lambda each: each.__name__
)
@pytest.mark.parametrize("name", ["small/07", "large"])
def test_a_changed_file_is_told_by_name(filled, change, name):
    """Whatever became of a file: fetching and reading name it, verify finds it alone, others are fetched."""
    filled.record()
    change(filled.raw / name)
    repo = filled.fresh()
    with pytest.raises(IntegrityError, match=f"/raw/{name} was changed after it was recorded"):
        repo.fetch("ext", dest=filled.root / "out")
    assert not (filled.root / "out").exists()
    with pytest.raises(IntegrityError, match=name):
        repo.version("ext").read(name)
    report = repo.verify("ext")
    assert [path for path, _ in report.findings] == [name]
    others = [f"small/{number:02d}" for number in range(40) if name != f"small/{number:02d}"]
    assert repo.fetch("ext", include=[*others, "run.sh"]).files == len(others) + 1


def test_a_quick_look_reads_only_what_looks_changed(filled):
    """`verify --quick` believes size and time, as `git status` does; where they differ, bytes decide."""
    filled.record()
    changed_bytes(filled.raw / "small/03")
    (filled.raw / "small/04").touch()
    truncated(filled.raw / "small/05")
    report = filled.fresh().verify("ext", quick=True)
    assert [path for path, _ in report.findings] == ["small/05"]
    report = filled.fresh().verify("ext")
    assert [path for path, _ in report.findings] == ["small/03", "small/05"]


def test_the_next_version_reads_only_what_changed(filled):
    """What is recorded as it is now is not read again; a file whose time alone changed is."""
    filled.record()
    filled.write("small/07", 5000)
    filled.write("small/new", 300)
    (filled.raw / "run.sh").touch()
    draft = filled.repo.create("ext", parents="ext", workspace=filled.root)
    plan = draft.plan_external(filled.raw)
    assert (plan.files, plan.unchanged, plan.read) == (44, 40, 5310) and not plan.problems and not plan.places
    report = draft.add_external(filled.raw)
    assert (report.unchanged, report.read) == (40, 5310)  # an empty file has no place that could be compared
    assert sorted(change.path for change in draft._core.changes()) == ["small/07", "small/new"]
    draft.finalize().upload()
    assert contents(filled.fresh().fetch("ext", dest=filled.root / "out").path) == contents(filled.raw)


def test_patterns_and_a_folder_of_its_own(filled):
    """Patterns are those of `add`; what is recorded goes below `dest`; a single file goes into it."""
    draft = filled.repo.create("some", workspace=filled.root)
    report = draft.add_external(
        filled.raw / "small", dest="train", include=["0*", "1*"], exclude=["*5"], progress=(told := Told())
    )
    draft.add_external(filled.raw / "large", dest="big")
    assert report.files == 18 and report.ignored == 22 and told.files == 18
    names = [entry.path for entry in draft.tree.iterate()]
    assert names[0] == "big/large" and names[1] == "train/00" and len(names) == 19
    with pytest.raises(PathNotFound):
        draft.add_external(filled.root / "nothing")


class Told:
    """Progress that counts."""

    files = 0

    def start(self, files, size, /):
        """Do nothing."""

    def advance(self, files, size, /, new=0):
        """Count."""
        self.files += files


def test_what_is_added_never_depends_on_external_files(filled):
    """A file that is external in the parent is stored when it is added, though its content is the same."""
    filled.record()
    draft = filled.repo.create("ext", parents="ext", workspace=filled.root)
    draft.add(filled.raw / "small", dest="small")
    filled.write("more", 10)
    draft.add(filled.raw / "more")
    draft.finalize().upload()
    entries = {entry.path: entry for entry in filled.repo.version("ext").entries()}
    assert not any(is_external(extent.pack) for extent in entries["small/07"].extents)
    assert any(is_external(extent.pack) for extent in entries["large"].extents)
    shutil.rmtree(filled.raw / "small")
    assert filled.fresh().fetch("ext", include="small").files == 40


@pytest.mark.parametrize("whose", ["the same dataset", "another dataset"])
def test_the_same_content_added_later_replaces_external_places(filled, whose):
    """Blocks are shared by their content: who stores the bytes makes the versions of both independent."""
    filled.record()
    name = "ext" if whose == "the same dataset" else "other"
    draft = filled.fresh().create(name, parents="ext" if name == "ext" else (), workspace=filled.root)
    draft.add(filled.raw)
    version = draft.finalize(allow_empty=True)
    version.upload()
    shutil.move(filled.raw, filled.root / "gone")
    for ref in ("ext@1.0.0", name):
        repo = filled.fresh()
        out = repo.fetch(ref, dest=filled.root / f"out-{ref.replace('@', '-')}-{len(ref)}").path
        assert contents(out) == contents(filled.root / "gone")
        assert repo.verify(ref).ok


def test_content_that_is_stored_stays_so(filled):
    """Recording files elsewhere that the repository has already makes no version depend on them."""
    draft = filled.repo.create("plain", workspace=filled.root)
    draft.add(filled.raw)
    draft.finalize().upload()
    filled.record()
    shutil.move(filled.raw, filled.root / "gone")
    assert contents(filled.fresh().fetch("ext", dest=filled.root / "out").path) == contents(
        filled.root / "gone"
    )


def test_an_upload_beside_another_is_independent_of_it(filled):
    """A writer that began before external files were recorded notices them before it publishes."""
    draft = filled.fresh().create("plain", workspace=filled.root)
    draft.add(filled.raw)
    version = draft.finalize()
    filled.record()
    version.upload()
    shutil.rmtree(filled.raw)
    assert filled.fresh().verify("plain").ok and filled.fresh().verify("ext").ok


class Disturbing(Told):
    """Progress that touches a file whenever bytes were read."""

    def __init__(self, path):
        self.path, self.times = path, 0

    def advance(self, files, size, /, new=0):
        """Touch the file."""
        self.times += 1
        os.utime(self.path, (self.times, self.times))


def test_a_file_that_changes_while_it_is_read_is_refused(world):
    """What does not hold still is named and left out; the rest is recorded."""
    world.write("calm", 10)
    path = world.write("restless", 10)
    draft = world.repo.create("ext", workspace=world.root)
    report = draft.add_external(world.raw, progress=Disturbing(path))
    assert [(name.rpartition("/")[2], why) for name, why in report.problems] == [
        ("restless", "it kept changing while it was read")
    ]
    assert [entry.path for entry in draft.tree.iterate()] == ["calm"]


def test_a_discarded_draft_leaves_nothing(filled):
    """External packs live in the draft until they are uploaded."""
    draft = filled.repo.create("ext", workspace=filled.root)
    draft.add_external(filled.raw)
    draft.discard()
    assert filled.objects("externals") == [] and not list(filled.root.rglob("drafts/*"))


def test_a_sealed_draft_does_not_take_more(filled):
    """A finalized draft refuses, as for `add`."""
    draft = filled.repo.create("ext", workspace=filled.root)
    draft.add_external(filled.raw, include=["run.sh"])
    draft.finalize()
    with pytest.raises(Conflict):
        draft.add_external(filled.raw)
