"""Verification finds every damage and names it."""

import os

import pytest

from dataver.checkout import verify_folder, verify_version
from dataver.errors import PathNotFound
from dataver.progress import Counters
from dataver.repository import RepositoryCore as Core

from .conftest import write


def test_a_sound_version_has_no_findings(filled):
    """Everything is looked at, and nothing found."""
    version = filled.version()
    for quick in (False, True):
        counters = Counters()
        report = verify_version(filled.repo._core, version.tree.digest, quick=quick, progress=counters)
        assert report.ok
        assert (report.files, report.size) == (version.file_count, version.size)
        assert report.packs == len(filled.packs())
        assert (counters.files, counters.size) == (version.file_count, version.size)


@pytest.mark.parametrize("quick", [False, True])
def test_a_flipped_bit_in_a_pack_is_found(filled, quick):
    """The pack is named, and the files that lie there."""
    version = filled.version()
    pack = max(filled.packs(), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    report = verify_version(filled.repo._core, version.tree.digest, quick=quick)
    assert not report.ok
    names = [name for name, _ in report.findings]
    assert f"pack {pack.name}" in names
    assert "large.bin" in names


def test_a_missing_pack_and_a_damaged_block_are_findings(filled):
    """The search goes on behind what is wrong."""
    version = filled.version()
    gone = filled.packs()[0]
    gone.unlink()
    report = verify_version(filled.repo._core, version.tree.digest, quick=True)
    assert (f"pack {gone.name}", "is missing from the repository") in report.findings
    for path in (filled.root / "repo" / "trees").rglob("*"):
        if path.is_file():
            path.unlink()
    fresh = Core(filled.repo._core.store, filled.repo._core.config)
    assert [name.split()[0] for name, _ in verify_version(fresh, version.tree.digest).findings] == ["tree"]


def test_a_folder_is_compared_file_by_file(filled):
    """Missing, changed, extra and replaced things are all named."""
    version = filled.version()
    own = filled.fetch(version, dest=filled.root / "own").path
    assert verify_folder(filled.repo._core, version.tree.digest, own).ok
    (own / "run.sh").chmod(0o644)
    (own / "middle/0.bin").unlink()
    before = (own / "middle/1.bin").stat()
    (own / "middle/1.bin").write_bytes(b"?" * before.st_size)
    os.truncate(own / "middle/2.bin", 5)
    write(own / "mine.txt", "mine")
    (own / "tiny/link").unlink()
    (own / "tiny/link").symlink_to("000.txt")
    found = dict(verify_folder(filled.repo._core, version.tree.digest, own).findings)
    assert found == {
        "run.sh": "has a different executable bit",
        "middle/0.bin": "is missing",
        "middle/1.bin": "has different bytes",
        "middle/2.bin": "has 5 bytes, not 200002",
        "mine.txt": "is not part of the version",
        "tiny/link": "leads elsewhere",
    }


def test_a_folder_that_is_not_there_is_an_error(filled):
    """No folder is not an empty one."""
    with pytest.raises(PathNotFound):
        verify_folder(filled.repo._core, filled.version().tree.digest, filled.root / "nowhere")
