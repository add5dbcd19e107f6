"""An own, writable copy: new, merged into what is there, refused by name."""

import os

import pytest

from dataver.errors import Conflict, IntegrityError

from .conftest import contents, write


def test_a_new_copy_is_the_source_and_writable(filled):
    """A copy appears whole, belongs to the user, and leaves nothing beside it."""
    version = filled.version()
    before = {path.name for path in filled.root.iterdir()} | {"own", "cache"}
    report = filled.fetch(version, dest=filled.root / "own")
    assert contents(report.path) == contents(filled.source)
    assert (report.path / "run.sh").stat().st_mode & 0o700 == 0o700
    assert (report.path / "large.bin").stat().st_mode & 0o700 == 0o600
    assert {path.name for path in filled.root.iterdir()} == before


def test_a_copy_of_a_cached_version_moves_nothing(filled):
    """The cached folder is copied; the repository is not read."""
    version = filled.version()
    filled.fetch(version)
    report = filled.fetch(version, dest=filled.root / "a" / "b" / "own")
    assert report.transferred == 0
    assert contents(report.path) == contents(filled.source)


def test_equal_files_are_left_alone_and_missing_ones_added(filled):
    """Fetching into a folder again fetches what it lacks; files of the user stay and are counted."""
    version = filled.version()
    own = filled.root / "own"
    filled.fetch(version, dest=own)
    kept = (own / "large.bin").stat()[:7], (own / "large.bin").stat().st_mtime_ns  # not the time it was read
    (own / "middle/0.bin").unlink()
    (own / "tiny/007.txt").unlink()
    write(own / "mine.txt", "mine")
    report = filled.fetch(version, dest=own)
    assert report.extra == 1
    assert 0 < report.transferred < 1_000_000
    assert contents(own) == contents(filled.source) | {"mine.txt": b"mine"}
    assert ((own / "large.bin").stat()[:7], (own / "large.bin").stat().st_mtime_ns) == kept
    assert not (own / ".dataver").exists()


def test_files_that_differ_are_refused_by_name_and_nothing_changes(filled):
    """One file that differs stops it all, unless it is to be overwritten."""
    version = filled.version()
    own = filled.root / "own"
    write(own / "run.sh", "my own script", 0o755)
    write(own / "tiny/001.txt", "my own line")
    before = contents(own)
    with pytest.raises(Conflict, match=r"'run\.sh', 'tiny/001\.txt'; nothing was changed"):
        filled.fetch(version, dest=own)
    assert contents(own) == before
    filled.fetch(version, dest=own, overwrite=True)
    assert contents(own) == contents(filled.source)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_or_link_in_the_way_is_never_touched(filled, overwrite):
    """Where a link or a folder stands in for part of a path, nothing is followed, removed or written."""
    version = filled.version()
    outside = filled.root / "outside"
    outside.mkdir()
    own = filled.root / "own"
    own.mkdir()
    (own / "middle").symlink_to(outside)
    write(own / "run.sh" / "inside.txt", "a folder where a file belongs")
    with pytest.raises(Conflict, match=r"'middle/0\.bin'.*'run\.sh'"):
        filled.fetch(version, dest=own, overwrite=overwrite)
    assert list(outside.iterdir()) == []
    assert contents(own) == {
        "middle": ("link", str(outside)),
        "run.sh/inside.txt": contents(own)["run.sh/inside.txt"],
    }


def test_a_link_at_a_files_place_is_replaced_not_written_through(filled):
    """Overwriting replaces the link; what it leads to stays as it was."""
    victim = filled.root / "victim"
    write(victim, "precious")
    own = filled.root / "own"
    own.mkdir()
    (own / "large.bin").symlink_to(victim)
    filled.fetch(filled.version(), dest=own, overwrite=True)
    assert victim.read_text() == "precious"
    assert contents(own) == contents(filled.source)


def test_a_staging_folder_that_is_a_link_is_refused(filled):
    """`.dataver` in the target cannot lead the staging elsewhere."""
    outside = filled.root / "outside"
    outside.mkdir()
    own = filled.root / "own"
    own.mkdir()
    (own / ".dataver").symlink_to(outside)
    with pytest.raises(Exception, match="cannot be written"):
        filled.fetch(filled.version(), dest=own)
    assert list(outside.iterdir()) == []


def test_a_damaged_repository_leaves_an_existing_folder_as_it_was(filled):
    """Everything is verified before the first file of a merge moves."""
    version = filled.version()
    pack = max(filled.packs(), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    own = filled.root / "own"
    write(own / "mine.txt", "mine")
    with pytest.raises(IntegrityError):
        filled.fetch(version, dest=own)
    assert {k: v for k, v in contents(own).items() if not k.startswith(".dataver/")} == {"mine.txt": b"mine"}
    with pytest.raises(IntegrityError):
        filled.fetch(version, dest=filled.root / "new")
    assert not (filled.root / "new").exists()


def test_a_file_at_the_place_of_the_folder_is_refused(filled):
    """A target that is a file is not replaced."""
    write(filled.root / "own", "a file")
    with pytest.raises(Conflict, match="is not a folder"):
        filled.fetch(filled.version(), dest=filled.root / "own")
    assert os.path.isfile(filled.root / "own")
