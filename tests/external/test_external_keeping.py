"""External packs in a repository's life: counted, kept while needed, freed, repacked around, and moved."""

import os
import shutil
from datetime import timedelta

import pytest

import dataver
from dataver.errors import IntegrityError, StoreError

from .conftest import contents


def test_bytes_outside_are_counted_apart(filled):
    """`du` counts what deleting would free; bytes elsewhere stand beside that, each run once."""
    filled.record()
    filled.write("more", 5000)
    filled.record(parents="ext")
    draft = filled.repo.create("mixed", workspace=filled.root)
    draft.add_external(filled.raw / "large")
    draft.add(filled.raw / "small/00")
    draft.finalize().upload()
    size = sum(
        path.stat().st_size for path in filled.raw.rglob("*") if path.is_file() and not path.is_symlink()
    )
    report = filled.fresh().du()
    usage = {each.name: each for each in report.versions}
    assert usage["ext@1.0.0"].external == size - 5000 and usage["ext@1.0.1"].external == size
    assert usage["mixed@1.0.0"].external == 11_000_000 and 1000 < usage["mixed@1.0.0"].compressed < 1100
    assert usage["ext@1.0.0"].compressed == 0 and usage["ext@1.0.0"].total < 50_000
    assert report.stored < 60_000 and report.unneeded == 0
    stored = sum(path.stat().st_size for path in (filled.root / "repo").rglob("*") if path.is_file())
    assert report.stored == stored == report.needed + report.other


def test_gc_keeps_what_versions_name_and_frees_the_rest(filled):
    """External packs live as packs do; no file outside is ever touched."""
    filled.record()
    filled.record(name="other", url=filled.raw / "small")
    before = contents(filled.raw)
    assert filled.repo.gc(grace=timedelta(0), delete_most=True).packs == 0
    filled.repo.delete("ext@1.0.0")
    report = filled.repo.gc(grace=timedelta(0), delete_most=True)
    assert report.packs == 2 and len(filled.objects("externals")) == 1
    assert filled.fresh().verify("other").ok and contents(filled.raw) == before
    filled.repo.delete("other@1.0.0")
    filled.repo.gc(grace=timedelta(0), delete_most=True)
    assert filled.objects("externals") == [] and contents(filled.raw) == before


def test_gc_spares_what_a_draft_relies_on(filled):
    """A draft whose parent was deleted keeps the parent's external packs."""
    filled.record()
    draft = filled.repo.create("ext", parents="ext", workspace=filled.root)
    draft.remove("run.sh")
    filled.repo.delete("ext@1.0.0")
    filled.repo.gc(grace=timedelta(0), delete_most=True)
    draft.finalize().upload()
    assert filled.fresh().verify("ext").ok


def test_repacking_leaves_external_packs_alone(filled):
    """However little of an external pack is needed, there is nothing to rewrite; packs beside it are."""
    for number in range(30):
        filled.write(f"own/{number}", 60_000)
    draft = filled.repo.create("mixed", workspace=filled.root)
    draft.add_external(filled.raw / "small", dest="small")
    draft.add(filled.raw / "own", dest="own")
    draft.finalize().upload()
    draft = filled.repo.create("mixed", parents="mixed", workspace=filled.root)
    draft.remove("small/0?", "small/1?", "small/2?", "small/30", "own/?", "own/1?")
    draft.finalize().upload()
    filled.repo.delete("mixed@1.0.0")
    before = filled.objects("externals")
    report = filled.fresh().repack()
    assert report.packs == 1 and report.written == 1
    assert filled.objects("externals") == before and filled.fresh().verify("mixed").ok


def test_external_packs_move_as_they_are(filled):
    """Pushed elsewhere, a version names the same files; what is there is checked, and not sent again."""
    filled.record()
    target = dataver.init(filled.root / "target")
    report = filled.fresh().push(target, verify=True)
    assert not report.problems and report.packs == 2
    assert [path.name for path in filled.objects("externals", "target")] == [
        path.name for path in filled.objects("externals")
    ]
    again = filled.fresh(filled.root / "target")
    assert contents(again.fetch("ext", dest=filled.root / "out").path) == contents(filled.raw)
    assert filled.fresh().push(target).packs == 0
    path = filled.objects("externals", "target")[0]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert [name for name, _ in filled.fresh().push(target, verify=True).problems]


@pytest.mark.parametrize("first", ["stored", "external"])
def test_a_move_makes_no_version_depend_on_external_files(filled, first):
    """Where one repository has the bytes and the other their place, the bytes win, whoever comes first."""
    stored = dataver.init(filled.root / "stored")
    draft = stored.create("ext", workspace=filled.root)
    draft.add(filled.raw)
    draft.finalize().upload()
    filled.record(name="other")
    target = dataver.init(filled.root / "target")
    sources = [stored, filled.fresh()] if first == "stored" else [filled.fresh(), stored]
    for source in sources:
        assert not source.push(target, verify=True).problems
    shutil.rmtree(filled.raw)
    again = filled.fresh(filled.root / "target")
    assert again.verify("ext").ok and again.verify("other").ok


def test_a_move_beside_an_upload(filled):
    """Who uploads bytes to a repository into which places are moved meanwhile keeps them."""
    target = dataver.init(filled.root / "target")
    draft = target.create("plain", workspace=filled.root)
    draft.add(filled.raw)
    version = draft.finalize()
    filled.record()
    filled.fresh().push(target)
    version.upload()
    shutil.rmtree(filled.raw)
    assert filled.fresh(filled.root / "target").verify("plain").ok


def test_a_lost_external_pack_keeps_versions_from_moving(filled):
    """A move names what the source cannot give, and publishes nothing that would not be whole."""
    filled.record()
    filled.objects("externals")[0].unlink()
    target = dataver.init(filled.root / "target")
    report = filled.fresh().push(target)
    assert report.problems and not report.versions and not filled.objects("datasets", "target")


def test_a_file_that_was_put_back_is_read_again(filled):
    """Recorded anew with the same content, a version reads the file as it is now; so do its relatives."""
    filled.record()
    path = filled.raw / "small/07"
    data = path.read_bytes()
    path.write_bytes(b"other")
    with pytest.raises(IntegrityError):
        filled.fresh().version("ext").read("small/07")
    path.write_bytes(data)
    os.utime(path, (1, 1))  # bytes decide where a store has nothing better
    assert filled.fresh().version("ext").read("small/07") == data


def test_moved_files_are_found_after_recording_them_anew(filled):
    """Files that moved are recorded at their new place; the version's digest is the same."""
    old = filled.record()
    moved = filled.root / "moved"
    filled.raw.rename(moved)
    with pytest.raises((IntegrityError, StoreError)):
        filled.fresh().fetch("ext", dest=filled.root / "out")
    draft = filled.fresh().create("ext", parents="ext", workspace=filled.root)
    draft.add_external(moved)
    version = draft.finalize(allow_empty=True)
    version.upload()
    assert version.digest == old.digest
    for ref in ("ext@1.0.0", "ext@1.0.1"):
        assert contents(filled.fresh().fetch(ref, dest=filled.root / ref).path) == contents(moved)
