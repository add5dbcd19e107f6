"""The folder of the cache: this user's alone, wherever it is told to be."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import dataver
from dataver.errors import StoreError
from dataver.machine import cache_root
from dataver.machine.cache_root import CacheUnusable, is_network, open_cache_root, private_cache_root

NOWHERE = "/dev/null/cache"  # where not even root can make a folder


@pytest.fixture
def repo(tmp_path):
    """A repository with one version."""
    repository = dataver.init(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 100_000)
    repository.sync(tmp_path / "data", "a", workspace=tmp_path)
    return repository


def mode(path):
    return stat.S_IMODE(path.stat().st_mode) & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_a_cache_is_closed_to_others_whatever_the_umask_is(repo, tmp_path, monkeypatch, umask):
    """What dataver makes is 0700, the missing folders above it included; sharing is never guessed."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "above" / "cache"))
    before = os.umask(umask)
    try:
        path = repo.fetch("a").path
        repo.sync(tmp_path / "data", "b", workspace=tmp_path)
    finally:
        os.umask(before)
    assert path.is_relative_to(tmp_path / "above" / "cache" / "trees")
    for folder in (tmp_path / "above", tmp_path / "above" / "cache", path.parent):
        assert mode(folder) == 0o700
    for folder in (tmp_path / "above" / "cache").iterdir():
        assert mode(folder) == 0o700


@pytest.mark.parametrize("open_to_others", [0o775, 0o2775, 0o1777])
def test_in_a_folder_for_all_each_user_has_one_of_their_own(repo, tmp_path, monkeypatch, open_to_others):
    """What lies in such a folder itself is neither read nor written: links and versions included."""
    root = tmp_path / "scratch"
    monkeypatch.setenv("DATAVER_CACHE", str(root))
    poisoned = repo.fetch("a").path / "file"
    poisoned.chmod(0o644)
    status = poisoned.stat()
    poisoned.write_bytes(b"evil" + poisoned.read_bytes()[4:])
    os.utime(poisoned, ns=(status.st_atime_ns, status.st_mtime_ns))
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for lock in (root / "locks").iterdir():
        lock.unlink()
        lock.symlink_to(precious)
    root.chmod(open_to_others)
    own = root / f"dataver-{os.geteuid()}"
    assert open_cache_root() == own
    assert mode(own) == 0o700
    path = repo.fetch("a").path
    assert path.is_relative_to(own)
    repo.fetch("a", dest=tmp_path / "copy")
    for fetched in (path / "file", tmp_path / "copy" / "file"):
        assert fetched.read_bytes() == b"x" * 100_000
    assert precious.read_text() == "precious"


def test_a_folder_that_another_user_put_in_the_way_is_refused(repo, tmp_path, monkeypatch):
    """A link in the place of the user's own folder, or one that others may write to, is no cache."""
    root = tmp_path / "scratch"
    root.mkdir()
    root.chmod(0o1777)
    monkeypatch.setenv("DATAVER_CACHE", str(root))
    own = root / f"dataver-{os.geteuid()}"
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(CacheUnusable, match="changed by other users") as caught:
        repo.fetch("a")
    assert "DATAVER_CACHE" in caught.value.hint
    own.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheUnusable):
        repo.fetch("a")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert repo.fetch("a", dest=tmp_path / "copy").uncached


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_the_cache_of_another_user_is_refused(repo, tmp_path, monkeypatch):
    """Its owner could change every file in it, whatever its mode is."""
    root = tmp_path / "theirs"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    monkeypatch.setenv("DATAVER_CACHE", str(root))
    with pytest.raises(CacheUnusable, match="uid 12345"):
        repo.fetch("a")
    assert not list(root.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
def test_two_users_of_one_folder_have_a_cache_each(monkeypatch):
    """As on a volume of a third user: what one leaves there, links included, does not reach the other."""
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        root = Path(above, "scratch")
        root.mkdir()
        os.chown(root, 12345, 12345)
        root.chmod(0o777)
        monkeypatch.setenv("DATAVER_CACHE", str(root))
        (root / "dataver-54322").symlink_to("/etc")
        for user, expected in ((54321, f"{root}/dataver-54321"), (54322, "can be changed by other users")):
            code = (
                f"import os, dataver.machine.cache_root as c; os.setuid({user}); print(c.open_cache_root())"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert expected in (done.stdout if user == 54321 else done.stderr)
        assert (root / "dataver-54321").stat().st_uid == 54321


def test_without_a_cache_an_own_copy_is_fetched_and_files_are_read(repo, tmp_path, monkeypatch):
    """The report says once why nothing was kept; what needs a cache is refused with what to do."""
    monkeypatch.setenv("DATAVER_CACHE", NOWHERE)
    report = repo.fetch("a", dest=tmp_path / "copy")
    assert (report.path / "file").read_bytes() == b"x" * 100_000
    assert NOWHERE in report.uncached
    assert repo.files("a").read("file") == b"x" * 100_000
    assert b"".join(repo.version("a").chunks("file")) == b"x" * 100_000
    assert repo.plan_fetch("a").transferred
    with pytest.raises(StoreError, match="cannot be used") as caught:
        repo.fetch("a")
    assert "DATAVER_CACHE" in caught.value.hint and "--dest" in caught.value.hint


@pytest.mark.parametrize("home", [None, "", "relative", "/dev/null"])
def test_commands_work_whatever_the_home_is(repo, tmp_path, home):
    """Unset, empty, relative or no folder: versions are made and fetched, and no folder `~` is made."""
    (tmp_path / "here").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "DATAVER_CACHE")}
    environment["DATAVER_LINEAGE"] = "on"
    environment |= {} if home is None else {"HOME": home}
    if home != "/dev/null":  # the account's own home takes its place
        environment |= {"DATAVER_CACHE": str(tmp_path / "cache"), "DATAVER_STATE": str(tmp_path / "state")}
    code = """if True:
        import sys
        from dataver_cli.main import main
        sys.exit(max(main(each.split()) for each in sys.argv[1:]))
    """
    commands = (
        f"sync {tmp_path / 'data'} --name c --repo {repo.url}",
        f"list --repo {repo.url}",
        f"fetch c --dest own --repo {repo.url}",
        f"cat c file --repo {repo.url}",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *commands],
        cwd=tmp_path / "here",
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"defect" not in done.stderr and b"Traceback" not in done.stderr
    assert (tmp_path / "here" / "own" / "file").stat().st_size == 100_000
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["own"]


def test_small_things_lie_where_no_other_user_writes(repo, tmp_path, monkeypatch):
    """SQLite files go to the cache, or where that cannot be used to the user's own; never beside others'."""
    assert private_cache_root() == open_cache_root()
    monkeypatch.setenv("DATAVER_CACHE", NOWHERE)
    assert private_cache_root().is_relative_to(os.environ["HOME"])
    monkeypatch.setenv("HOME", NOWHERE)
    private = private_cache_root()
    assert private == Path(f"/var/tmp/dataver-{os.geteuid()}") and mode(private) == 0o700


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
    monkeypatch.setattr(cache_root, "_mounts", lambda: mounts)
    far = ["/home/ana/.cache", "/home", "/mnt/with space/x", "/mnt/sshfs/deep/er"]
    near = ["/", "/homework", "/home/ana/fast/cache", "/mnt/ntfs/x", "/mnt/withspace"]
    assert [path for path in far + near if is_network(path)] == far
