"""A cache that one user fills and others read: only when its owner says so, hashed before the first use."""

import os
import stat
import subprocess
import sys

import pytest

import dataver
from dataver.cache.eviction import clean, plan_clean
from dataver.cache.sharing import read_shared, share, unshare
from dataver.cache.version_cache import VersionCache
from dataver.machine.cache_root import CacheUnusable


@pytest.fixture
def repo(tmp_path):
    """A repository with one version."""
    repository = dataver.init(tmp_path / "repository")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 100_000)
    repository.sync(tmp_path / "data", "a", workspace=tmp_path)
    return repository


@pytest.fixture
def theirs(repo, tmp_path, monkeypatch):
    """The cache of another user that holds the version and is shared; the own one is another."""
    root = tmp_path / "theirs"
    monkeypatch.setenv("DATAVER_CACHE", str(root))
    folder = repo.fetch("a").path
    VersionCache(root).done(folder.name)
    share(root)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("DATAVER_SHARED_CACHE", str(root))
    return root


def change(file, data):
    """Change bytes of a file and give it its size and time back."""
    status = file.stat()
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_shared_version_is_used_where_it_lies(repo, theirs, tmp_path):
    """Nothing is copied; what the owner does not have is fetched into the own cache."""
    report = repo.fetch("a")
    assert report.path.is_relative_to(theirs) and not report.transferred
    (tmp_path / "data" / "more").write_text("more")
    repo.sync(tmp_path / "data", "a", workspace=tmp_path)
    assert repo.fetch("a").path.is_relative_to(tmp_path / "own")


def test_what_the_owner_changed_is_not_used(repo, theirs, tmp_path):
    """The first use hashes every file; wrong ones are not repaired there but fetched into the own cache."""
    (file,) = theirs.glob("trees/*/file")
    change(file, b"evil")
    path = repo.fetch("a").path
    assert path.is_relative_to(tmp_path / "own")
    assert (path / "file").read_bytes() == b"x" * 100_000
    assert file.read_bytes().startswith(b"evil")


def test_full_verification_reads_a_shared_version_again(repo, theirs, tmp_path):
    """After the first use its owner is trusted as far as size and time go, unless asked."""
    assert repo.fetch("a").path.is_relative_to(theirs)
    (file,) = theirs.glob("trees/*/file")
    change(file, b"evil")
    assert repo.fetch("a", verify="full").path.is_relative_to(tmp_path / "own")


def test_only_what_is_shared_can_be_read(theirs):
    """Versions, and no records, indexes or hashes of files; `--off` closes all."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (theirs, *theirs.iterdir())}
    open_to_others = {name for name, mode in modes.items() if mode & 0o055}
    assert open_to_others == {theirs.name, "trees", "readers"}
    assert not any(mode & 0o022 for mode in modes.values())
    unshare(theirs)
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700


@pytest.mark.parametrize("part", [".", "trees"])
def test_a_cache_that_several_can_change_is_refused(repo, theirs, part):
    """The owner alone may write; sharing is said, and a folder with fitting permissions is not shared."""
    (theirs / part).chmod(0o775)
    with pytest.raises(CacheUnusable, match="can be changed"):
        repo.fetch("a")
    (theirs / part).chmod(0o755)
    (theirs / "readers").unlink()
    with pytest.raises(CacheUnusable, match="cannot be read") as caught:
        repo.fetch("a")
    assert "dataver cache share" in caught.value.hint


def test_a_version_of_a_third_user_in_a_shared_cache_is_not_used(repo, theirs, tmp_path):
    """A link, or a folder that is not the owner's, is passed over."""
    (folder,) = (path for path in theirs.glob("trees/*") if path.is_dir())
    folder.chmod(0o755)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert repo.fetch("a").path.is_relative_to(tmp_path / "own")


def test_nothing_is_removed_while_somebody_reads(theirs):
    """A reader's process keeps all versions; when it has ended, they can go."""
    code = "from dataver.cache.sharing import read_shared; read_shared(); print(flush=True); input()"
    reader = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    with reader:
        reader.stdout.readline()
        cache = VersionCache(theirs)
        gone, problems = clean(cache, plan_clean(cache))
        assert (gone, len(problems)) == (0, 1)
        reader.stdin.write(b"\n")
        reader.stdin.close()
    assert clean(cache, plan_clean(cache)) == (1, [])
    assert read_shared() == theirs
