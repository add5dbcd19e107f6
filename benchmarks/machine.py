"""What the figures were measured on: facts that every result carries."""

import os
import platform
from pathlib import Path
from typing import TypedDict

__all__ = ["Machine", "machine_facts", "settle"]

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


class Machine(TypedDict):
    """One machine; `memory` in bytes, `cpus` as many as this process may use."""

    cpu: str
    cpus: int
    memory: int
    system: str
    filesystem: str
    python: str


def machine_facts(work: Path) -> Machine:
    """Return the facts of this machine and of the file system that holds `work`."""
    return Machine(
        cpu=_cpu(),
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        filesystem=_filesystem(work),
        python=platform.python_version(),
    )


def settle() -> None:
    """Bring the machine to one state before a round: all is written, nothing is remembered of deleted files.

    What ext4 without a journal remembers of them goes with its cached blocks. Only root may drop those;
    anyone else has to wait some minutes after deleting many files.
    """
    os.sync()
    if os.access(_DROP_CACHES, os.W_OK):
        _DROP_CACHES.write_text("1")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _filesystem(path: Path) -> str:
    """Return the type of the mount that holds a path: the longest mount point that leads to it."""
    best, found, device = "", "unknown", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, point, kind, *_ = line.split()
        if path.resolve().is_relative_to(point) and len(point) >= len(best):
            best, found, device = point, kind, Path(source).name
    journalled = found != "ext4" or any(Path("/proc/fs/jbd2").glob(f"{device}-*"))
    return found if journalled else f"{found} without a journal"
