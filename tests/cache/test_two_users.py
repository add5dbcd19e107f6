"""Two users and one cache folder: neither reads, changes or creates what is the other's.

Needs root, to become other users, and a Python that they may execute.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from blake3 import blake3

USERS = {"a": 61001, "b": 61002}
GROUP = 61000


class Users:
    """Two users of one group, each with a home, a repository of `x`, and a cache that both may write to.

    Attributes:
        root: the folder of all, which everybody may look into.
    """

    def __init__(self, root, python):
        self.root, self._python = root, python
        root.chmod(0o755)
        for name, uid in USERS.items():
            (root / name).mkdir()
            os.chown(root / name, uid, GROUP)
        (root / "cache").mkdir()
        os.chown(root / "cache", 0, GROUP)
        (root / "cache").chmod(0o2775)
        self.source = root / "source"
        self.source.mkdir()

    def run(self, user, *command, umask=0o002, cache="cache"):
        """Run a command as a user."""
        environment = {
            "HOME": str(self.root / user),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATAVER_LINEAGE": "off",
        }
        if cache:
            environment["DATAVER_CACHE"] = str(self.root / cache)
        return subprocess.run(
            command,
            cwd=self.root / user,
            env=environment,
            user=USERS[user],
            group=GROUP,
            extra_groups=[],
            umask=umask,
            capture_output=True,
            text=True,
        )

    def usable(self):
        """Tell whether a user may execute Python and import dataver."""
        try:
            return self.run("a", self._python, "-m", "dataver_cli", "--version").returncode == 0
        except PermissionError:
            return False

    def dataver(self, user, *words, **options):
        """Run a command of dataver as a user; return what it printed."""
        done = self.run(user, self._python, "-m", "dataver_cli", *words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def publish(self, files, **options):
        """Publish a version of `x` with these files besides those before; return the digest of its tree."""
        repo = str(self.root / "a" / "repo")
        for name, content in files.items():
            (self.source / name).write_text(content)
        self.dataver("a", "sync", str(self.source), "--name", "x", "--repo", repo, **options)
        shown = self.dataver("a", "show", "x", "--json", "--repo", repo, **options)
        return json.loads(shown)["digest"].removeprefix("dv1:")

    def fetch(self, user, ref="x", *words, **options):
        """Fetch a version as a user; return its folder."""
        repo = str(self.root / "a" / "repo")
        return Path(self.dataver(user, "fetch", ref, "-q", "--repo", repo, *words, **options).strip())


@pytest.fixture
def users():
    """The two users; skipped where this process cannot become them."""
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    root = Path(tempfile.mkdtemp())
    try:
        pythons = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
        for python in filter(os.path.exists, pythons):
            made = Users(Path(tempfile.mkdtemp(dir=root)), python)
            root.chmod(0o755)
            if made.usable():
                made.dataver("a", "init", str(made.root / "a" / "repo"), "--no-config")
                yield made
                return
        pytest.skip("there is no Python here that other users may execute")
    finally:
        for folder, _, _ in os.walk(root):
            os.chmod(folder, 0o755)
        shutil.rmtree(root)


def test_what_another_user_changed_is_not_used(users):
    """A folder of another user, altered with its size and times put back, reaches no fetch of ours."""
    users.publish({"big": "G" * 300_000, "small": "good"})
    theirs = users.fetch("b")
    for name in ("big", "small"):
        file = theirs / name
        status = file.stat()
        file.write_bytes(b"EVIL" + file.read_bytes()[4:])
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    users.publish({"new": "2"})
    own = users.fetch("a", "x@1.0.0", "--dest", str(users.root / "a" / "own"))
    cached = users.fetch("a", "x@1.0.1")
    for folder in (own, cached):
        assert {(folder / name).read_text()[:4] for name in ("big", "small")} == {"GGGG", "good"}
    assert cached.stat().st_uid == USERS["a"]


@pytest.mark.parametrize("mode", [0o2775, 0o1777])
def test_links_of_another_user_are_not_followed(users, mode):
    """Links at the names that a fetch opens neither truncate nor create files of the one who fetches."""
    cache = users.root / "cache"
    cache.chmod(mode)
    precious = users.root / "a" / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    os.chown(precious, USERS["a"], GROUP)
    tree = users.publish({"f": "good"})
    target = users.root / "a" / "out"
    lock = f"dest-{blake3(os.fsencode(target)).digest()[:16].hex()}"
    created = users.root / "a" / "created"
    for folder in ("locks", "trees"):
        users.run("b", "mkdir", "-m", "2775", str(cache / folder))
    for name, to in {
        f"locks/{tree}": precious,
        f"locks/{lock}": created,
        f"trees/{tree}.json.new": precious,
        f"trees/{tree}.stat": precious,
    }.items():
        assert users.run("b", "ln", "-s", str(to), str(cache / name)).returncode == 0
    assert (users.fetch("a") / "f").read_text() == "good"
    users.fetch("a", "x", "--dest", str(target))
    assert precious.read_text() == "precious"
    assert not created.exists()


@pytest.mark.parametrize("umask", [0o002, 0o000])
def test_an_own_cache_is_closed_to_others_whatever_the_umask(users, umask):
    """No folder in it may be written by others, and nobody else may look into it."""
    users.publish({"f": "good"}, umask=umask, cache=None)
    users.fetch("a", umask=umask, cache=None)
    cache = users.root / "a" / ".cache" / "dataver"
    folders = [path for path in (cache, *cache.rglob("*")) if path.is_dir()]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [path for path in folders if path.stat().st_mode & 0o022] == []
