"""Where SQLite and believed objects lie: never where others write, never on another machine's disk."""

import os
import stat

import dataver
from dataver.repository import private_place
from dataver.repository.places import cache_root
from dataver.repository.private_place import is_network, is_shared, private_cache_root


def test_the_cache_serves_unless_others_write_there(tmp_path, monkeypatch):
    """A root of one's own is used; one that a group may write to is not."""
    assert private_cache_root() == cache_root()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    monkeypatch.setenv("DATAVER_CACHE", str(shared))
    assert is_shared(shared)
    assert private_cache_root().is_relative_to(os.environ["HOME"])
    repository = dataver.init(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 100_000)
    repository.sync(tmp_path / "data", "a", workspace=tmp_path)
    assert not list(shared.rglob("*.sqlite*"))
    assert list(private_cache_root().rglob("*.sqlite"))


def test_network_file_systems_are_known_by_their_mounts(monkeypatch):
    """The longest mount point above a path decides; FUSE counts as far away unless known to be near."""
    mounts = (
        ("/", "ext4"),
        ("/home", "nfs4"),
        ("/home/ana/fast", "xfs"),
        ("/mnt/with space", "cifs"),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/mnt/ntfs", "fuseblk"),
    )
    monkeypatch.setattr(private_place, "_mounts", lambda: mounts)
    far = ["/home/ana/.cache", "/home", "/mnt/with space/x", "/mnt/sshfs/deep/er"]
    near = ["/", "/homework", "/home/ana/fast/cache", "/mnt/ntfs/x", "/mnt/withspace"]
    assert [path for path in far + near if is_network(path)] == far


def test_a_folder_that_somebody_put_in_the_way_is_not_trusted(tmp_path):
    """Ours is made for us alone; one that others may write to, or a link, is passed over."""
    made = private_place._own_folder(tmp_path)
    assert made.parent == tmp_path
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert private_place._own_folder(tmp_path) == made
    made.chmod(0o777)
    other = private_place._own_folder(tmp_path)
    assert other != made
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    other.rmdir()
    made.rmdir()
    made.symlink_to(tmp_path)
    other = private_place._own_folder(tmp_path)
    assert other not in (made, tmp_path)
    other.rmdir()
