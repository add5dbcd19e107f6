"""Every command killed, on a full disk, and with few descriptors: nothing published is harmed.

A command is killed at each system call that changes a file system: strace's fault injection chooses the point
(`--inject=…:signal=KILL:when=N`, a count for each kind of call in each thread). The disk is a tmpfs of a size
that grows step by step. Descriptors are limited by `prlimit`.
"""

import os
import re
import shutil
import subprocess
from typing import NamedTuple

import pytest

from .conftest import FULL, MUTATING, write_line

POINTS = None if FULL else 6  # of each command; None: all


class Case(NamedTuple):
    """A command, what goes before it, and the exit codes of its repetition where all was done at the kill."""

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    again: frozenset[int] = frozenset({0})


DONE_OR_TAKEN = frozenset({0, 4, 5})
CASES = {
    "init": Case(("init", "third", "--no-config"), again=DONE_OR_TAKEN),
    "create": Case(("create", "f")),
    "add": Case(("add", "source", "--dest", "more")),
    "remove": Case(("remove", "new"), again=DONE_OR_TAKEN),
    "move": Case(("move", "new", "old"), again=DONE_OR_TAKEN),
    "finalize": Case(("finalize",)),
    "upload": Case(("upload",), before=(("finalize",),), again=DONE_OR_TAKEN),
    "discard": Case(("discard", "--yes"), again=DONE_OR_TAKEN),
    "sync": Case(("sync", "source", "--name", "d"), before=(("discard", "--yes"),)),
    "fetch into the cache": Case(("fetch", "d")),
    "fetch into a folder": Case(("fetch", "d", "--dest", "out")),
    "tag": Case(("tag", "d@1.0.1", "second")),
    "delete": Case(("delete", "d@1.0.0", "--yes"), before=(("untag", "d@first"),), again=DONE_OR_TAKEN),
    "gc": Case(
        ("gc", "--grace", "0", "--yes"), before=(("untag", "d@first"), ("delete", "d@1.0.0", "--yes"))
    ),
    "repack": Case(
        ("repack", "--dead", "10", "--yes"), before=(("untag", "d@first"), ("delete", "d@1.0.0", "--yes"))
    ),
    "push": Case(("push", "far")),
    "cache clean": Case(("cache", "clean", "--yes")),
    "config": Case(("config", "set", "repository.options.region", "eu-west-1")),
    "lock": Case(("lock", "d@first")),
}
REMOVES = {"delete", "gc", "repack"}  # `d@1.0.0` is gone by their end, or before


@pytest.mark.parametrize("name", CASES)
def test_a_command_killed_anywhere(project, name):
    """All that was published verifies after each kill; the repeated command ends where it should."""
    assert shutil.which("strace"), "the torture suite needs strace (the system's package of that name)"
    log = project.root.parent / "calls"
    ends = ends_of(project, name, strace("-o", str(log), f"-etrace={MUTATING}"))
    hits = tried = 0
    points = kill_points(log.read_text())
    for call, number in (points[at - 1] for at in sample(len(points))):
        point = f"{call} {number}"
        prepare(project, name)
        kill = f"--inject={call}:signal=KILL:when={number}"
        killed = project.run(
            *CASES[name].words, prefix=strace("-o", "/dev/null", f"-etrace={MUTATING}", kill)
        )
        tried += 1
        hits += killed.returncode != 0
        check(project, name, ends, point)
    write_line(name, "killed", len(points), tried, hits)
    assert hits, "no point was hit"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")
def test_a_command_on_a_full_disk(project, name, disk):
    """With any space left a command succeeds or says that space ran out; repeated with space it succeeds."""
    ends = ends_of(project, name)
    prepare(project, name)
    used = disk.used()
    project.must(*CASES[name].words)
    need = disk.used() - used
    refused = 0
    sizes = sample(need // 4096 + 1)
    for free in sizes:
        disk.resize(None)
        prepare(project, name)
        disk.resize(disk.used() + (free - 1) * 4096)
        done = project.run(*CASES[name].words)
        assert done.returncode in (0, 7), (free, done.stdout, done.stderr)
        refused += done.returncode == 7
        disk.resize(None)
        check(project, name, ends, free)
    write_line(name, "full disk", need // 4096 + 1, len(sizes), refused)
    assert refused or need < 8192, "no size was too small"


@pytest.mark.parametrize("name", CASES)
def test_a_command_with_few_descriptors(project, name):
    """With any limit of open files nothing is harmed and no defect is claimed; a repeat ends it."""
    ends, failed = ends_of(project, name), 0
    for most in sample(24):
        prepare(project, name)
        done = project.run(*CASES[name].words, prefix=["prlimit", f"--nofile={most + 3}"])
        assert "defect" not in done.stderr, (most, done.stderr)
        failed += done.returncode != 0
        check(project, name, ends, most)
    write_line(name, "few descriptors", 24, len(sample(24)), failed)


class Ends(NamedTuple):
    """The digests of published versions, by name, before a command and after it."""

    before: dict[str, str]
    after: dict[str, str]


def ends_of(project, name, prefix=()):
    """Run a command undisturbed."""
    prepare(project, name)
    before = project.versions()
    done = project.run(*CASES[name].words, prefix=prefix)
    assert done.returncode == 0, done.stderr
    return Ends(before, project.versions())


def prepare(project, name):
    """Bring the project into the state before a command."""
    project.restore()
    for words in CASES[name].before:
        project.must(*words)


def check(project, name, ends, point):
    """Nothing is lost and nothing half published; the command, repeated, ends where it should."""
    published = project.versions()
    if name not in REMOVES:
        assert ends.before.items() <= published.items(), (point, "a version is lost")
    assert set(published.values()) <= set((ends.before | ends.after).values()), (point, "an unknown version")
    again = project.run(*CASES[name].words)
    assert again.returncode in CASES[name].again, (point, again.returncode, again.stdout, again.stderr)
    assert set(project.versions().values()) == set(ends.after.values()), (point, "the repeat ends elsewhere")


class Disk:
    """A disk in memory that is mounted where the project lies, and whose size is set."""

    def __init__(self, place):
        self.place = place

    def used(self):
        """Return the bytes that files take."""
        found = os.statvfs(self.place)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def resize(self, size):
        """Let it hold so many bytes; None: 256 MiB."""
        subprocess.run(["mount", "-o", f"remount,size={size or 256 << 20}", self.place], check=True)


@pytest.fixture
def disk(project):
    """A disk on which the project, its cache and its repositories lie."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256M", "torture", project.root], check=True)
    yield Disk(project.root)
    subprocess.run(["umount", project.root], check=True)


def strace(*options):
    """Return the start of a command line that runs a command and its children under strace.

    Without `--seccomp-bpf`, with which strace 6.1 sends no signal.
    """
    return ["strace", "-f", "-qqq", *options]


def kill_points(log):
    """Return each call and number at which strace can kill, in the order of the log.

    strace counts each kind of call in each thread by itself, and kills at the first thread to reach a number.
    """
    counts, points = {}, {}
    for thread, call in re.findall(r"(?m)^(\d+)\s+(\w+)\(", log):
        counts[thread, call] = number = counts.get((thread, call), 0) + 1
        points.setdefault((call, number))
    return list(points)


def sample(total):
    """Return the points from 1 to `total` that are tried: all, or some spread over them."""
    if POINTS is None or total <= POINTS:
        return range(1, total + 1)
    return sorted({1 + at * (total - 1) // (POINTS - 1) for at in range(POINTS)})
