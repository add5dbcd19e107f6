"""Every bit and every length of every object of a small repository, through `verify` and every reader.

What must hold: a reader gives the right answer or raises one of dataver's errors, and where any reader of a
version does not give the right answer, `verify` of some version names the damage. A reader that does not
open an object on the way to its answer is not asked about damage to that object.

DATAVER_TORTURE=full tries every bit and every length: `verify` reads each, and all readers those that the
object's parser accepts and every STEP-th of those that it refuses. Else a sample is tried with all readers.
DATAVER_TORTURE_TABLE names a file that gets a line for each kind of object.
"""

import itertools
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from dataver.errors import DataverError
from dataver.repository import holds

from .conftest import FULL, write_line
from .readers import READERS, Place, findings
from .small import KINDS, make, refused

FLIPS, LENGTHS = 20, 4  # of each kind of object, where not all are tried
STEP = 61  # where all are tried, readers read every so many-th damage that the parser refuses
MOST = 20  # failures shown


class World:
    """A small repository in memory, the right answers, and which reader opens which object."""

    def __init__(self, root: Path) -> None:
        self.root, self._numbers, self._opened = root, itertools.count(), set[str]()
        self._environment = {
            "DATAVER_LINEAGE": "off",
            "DATAVER_STATE": str(root / "state"),
            "HOME": str(root),
        }
        os.environ.update(self._environment, DATAVER_CACHE=str(root / "cache"))
        self.repo = make(root)
        self.opens, self.answers = dict[str, set[str]](), dict[str, object]()
        self._listening = True
        sys.addaudithook(self._hear)
        for name in [*READERS, "verify"]:
            self._opened.clear()
            self.answers[name] = self.ask(name)
            self.opens[name] = {key for key in self._opened if (self.repo / key).is_file()}
        self._listening = False
        assert self.answers["verify"] == []

    def ask(self, name: str) -> object:
        """Return the answer of a reader that has read nothing before."""
        scratch = self.root / f"{next(self._numbers)}"
        os.environ.update(self._environment, DATAVER_CACHE=str(scratch / "cache"))
        (scratch / "work").mkdir(parents=True)
        (scratch / "repo").symlink_to(self.repo)  # what a process keeps by address is not met again
        place = Place(scratch / "repo", scratch / "work")
        try:
            return findings(place) if name == "verify" else READERS[name](place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def keys(self, kind: str) -> list[str]:
        """Return the keys of one kind of object."""
        keys = [path.relative_to(self.repo).as_posix() for path in self.repo.rglob("*") if path.is_file()]
        return sorted(key for key in keys if key.startswith(kind))

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._listening and event == "open" and isinstance(arguments[0], str | Path):
            _, found, key = os.fspath(arguments[0]).partition("/repo/")
            if found:
                self._opened.add(key)


@pytest.fixture(scope="module")
def world():
    """The repository; in memory where there is such a disk."""
    shared = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as root,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(root)
        patch.setattr(holds, "PATIENCE", 0.0)  # of a writer that meets a sweep that cannot be read
        yield World(Path(root))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_never_taken_for_data(world, kind):
    """Right answers or errors of ours, and `verify` tells of what any reader of a version met."""
    began, counts, wrong = time.perf_counter(), Counter[str](), []
    for number, (key, what, data) in enumerate(damages(world, kind)):
        path = world.repo / key
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data)
        try:
            everyone = not FULL or number % STEP == 0 or not refused(world.repo, key)
            failed = suffered(world, key, everyone, counts)
        finally:
            path.write_bytes(good)
        counts["cut" if "bytes" in what else "flipped"] += 1
        wrong += [f"{key}, {what}: {each}" for each in failed]
    size = sum((world.repo / key).stat().st_size for key in world.keys(kind))
    figures = (counts[each] for each in ("flipped", "cut", "readings", "refused", "right"))
    write_line(kind, size, *figures, len(wrong), f"{time.perf_counter() - began:.0f}")
    assert not wrong, f"{len(wrong)} of {counts['readings']} readings:\n" + "\n".join(wrong[:MOST])


def damages(world, kind):
    """Yield what is tried: key, damage in words, and bytes; all of it or some spread over it."""
    objects = [(key, (world.repo / key).read_bytes()) for key in world.keys(kind)]
    bits = [(key, data, bit) for key, data in objects for bit in range(8 * len(data))]
    ends = [(key, data, end) for key, data in objects for end in range(len(data))]
    for key, data, bit in spread(bits, FLIPS):
        yield (
            key,
            f"bit {bit}",
            bytes([*data[: bit // 8], data[bit // 8] ^ 1 << bit % 8, *data[bit // 8 + 1 :]]),
        )
    for key, data, end in spread(ends, LENGTHS):
        yield key, f"{end} bytes left", data[:end]


def spread(every, some):
    """Return all, or some that are spread over it, by an odd step so that all bits of a byte occur."""
    return every if FULL else every[:: max(1, len(every) // some) | 1]


def suffered(world, key, everyone, counts):
    """Ask the readers that open an object, and `verify`; return what is wrong with their answers."""
    failed, missed = [], False
    for name in [name for name in READERS if everyone and key in world.opens[name]]:
        counts["readings"] += 1
        try:
            right = world.ask(name) == world.answers[name]
        except DataverError:
            missed = True
            counts["refused"] += 1
        except BaseException as error:  # noqa: BLE001  # any other error is what this looks for
            failed.append(f"{name} raised {type(error).__name__}: {error}")
        else:
            counts["right"] += right
            if not right:
                failed.append(f"{name} gave another answer")
    if key in world.opens["verify"]:
        counts["readings"] += 1
        found = bool(world.ask("verify"))
        counts["refused" if found else "right"] += 1
        if missed and not found:
            failed.append("`verify` finds nothing")
    return failed
