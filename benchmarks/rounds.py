"""One round: every tool does an operation before any tool does the next.

So whatever drifts, a busy neighbour or a slow disk, hits all tools alike; the first tool of an operation is
another one in each round. Before each measured operation everything is written to disk and what it will read
is read once, so that nobody pays for another's writes or for a cold page cache.

Many small files are removed only when the round is over: where ext4 has no journal, it makes new files up to
twenty times slower while it remembers deleted ones (`recently_deleted` in its ialloc.c).
"""

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.folders import Size, difference, measure_size, turn_into, warm
from benchmarks.machine import Machine, settle
from benchmarks.measure import Command, Failed, Stopped, Usage, measure
from benchmarks.players import Player, enroll
from benchmarks.requests import count_requests
from benchmarks.results import Result
from benchmarks.tools.base import Commands, Tool

__all__ = ["OPERATIONS", "Round", "run_round"]

OPERATIONS = ("start", "add", "again", "fetch-v1", "fetch-v2", "view-v2", "verify", "diff", "list")
_RACY = 1.5  # seconds after a change during which tools must distrust a file's times
_MANY = 500  # files, from which on removing them would slow those that come after

Deed = Callable[[Tool, Path], Commands]


@dataclass(frozen=True)
class Round:
    """What one round does: a data set, its versions, the run's number and the operations wanted.

    Attributes:
        counting: nothing is timed; the requests of each operation are counted instead, by `requests.py`.
        nice: the niceness of measured commands.
        link: the data is linked into the folder that is added, not copied; for data sets of one version.
        beside: a file that is locked (`flock`) while an operation is prepared and measured, so that other
            work on the machine can wait for the gaps.
    """

    number: int
    dataset: str
    scale: float
    versions: tuple[Path, ...]
    operations: frozenset[str]
    timeout: float
    work: Path
    machine: Machine
    nice: int = 0
    counting: bool = False
    link: bool = False
    beside: Path | None = None
    sizes: list[Size] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder that tools share and that turns from one version into the next."""
        return self.work / "data"

    def dest(self, operation: str, tool: Tool) -> Path:
        """Where a restore goes."""
        return self.work / "restored" / f"{operation}-{tool.name}"


def run_round(plan: Round, tools: dict[type[Tool], list[str]]) -> Iterator[Result]:
    """Do all operations with all tools and give each result as it comes; everything made is removed."""
    shutil.rmtree(plan.work, ignore_errors=True)
    (plan.work / "restored").mkdir(parents=True)
    settle()
    plan.sizes.extend(measure_size([version]) for version in plan.versions)
    try:
        players: list[Player] = []
        for kind, program in tools.items():
            player, error = enroll(kind, program, plan.work / "tools")
            players.append(player)
            if error:
                yield replace(_result(plan, player, "prepare", 0), error=error)
        yield from _adds(plan, players)
        yield from _reads(plan, players)
        yield Result(tool="", dataset=plan.dataset, scale=plan.scale, run=plan.number, done=True)
    finally:
        shutil.rmtree(plan.work, ignore_errors=True)


def _adds(plan: Round, players: list[Player]) -> Iterator[Result]:
    for index, version in enumerate(plan.versions):
        _turn(plan, players, version)
        yield from _each(plan, players, f"add-v{index + 1}", _adder(plan, f"v{index + 1}"), index)
    if "again" in plan.operations:
        last = len(plan.versions) - 1
        yield from _each(plan, players, "add-again", _adder(plan, "again"), last)


def _turn(plan: Round, players: list[Player], version: Path) -> None:
    """Turn the folders of all tools into a version, and let the change grow old enough to be believed."""
    for folder in {_folder(plan, player.tool) for player in players if player.alive}:
        turn_into(folder, version, link=plan.link)
    time.sleep(_RACY)


def _folder(plan: Round, tool: Tool) -> Path:
    return tool.data if tool.in_place else plan.folder


def _adder(plan: Round, label: str) -> Deed:
    def add(tool: Tool, _: Path) -> Commands:
        folder = _folder(plan, tool)
        if not plan.counting:
            warm([folder])
        return tool.add(folder, label)

    return add


def _reads(plan: Round, players: list[Player]) -> Iterator[Result]:
    second = f"v{min(2, len(plan.versions))}"  # the only version, where there is no other
    deeds: dict[str, Deed] = {
        "start": lambda tool, _: tool.start(),
        "fetch-v1": lambda tool, dest: tool.restore("v1", dest),
        "fetch-v2": lambda tool, dest: tool.restore("v2", dest),
        "view-v2": lambda tool, _: tool.view("v2"),
        "verify": lambda tool, _: tool.verify(second),
        "diff": lambda tool, _: tool.diff("v1", "v2"),
        "list": lambda tool, _: tool.list(second),
    }
    for operation, deed in deeds.items():
        if operation in plan.operations:
            index = 0 if operation == "fetch-v1" else min(1, len(plan.versions) - 1)
            yield from _each(plan, players, operation, deed, index)


def _each(plan: Round, players: list[Player], operation: str, deed: Deed, index: int) -> Iterator[Result]:
    """Let each tool do one operation, starting with another tool in each round."""
    turn = plan.number % len(players)
    for player in players[turn:] + players[:turn]:
        if not player.alive:
            continue
        with _alone(plan.beside):
            result = _one(plan, player, operation, deed, index)
        yield result


@contextlib.contextmanager
def _alone(beside: Path | None) -> Iterator[None]:
    if beside is None:
        yield
        return
    with beside.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _one(plan: Round, player: Player, operation: str, deed: Deed, index: int) -> Result:
    """Prepare and measure one operation of one tool."""
    dest = plan.dest(operation, player.tool)
    try:
        commands = _prepared(plan, player.tool, operation, deed, dest)
    except Failed as error:
        player.alive = not operation.startswith("add")
        return replace(_result(plan, player, operation, index), error=f"preparation: {error}")
    if commands is None:
        return replace(_result(plan, player, operation, index), lacking=True)
    result = _perform(plan, player, operation, index, commands)
    if plan.sizes[index].files < _MANY:
        shutil.rmtree(dest, ignore_errors=True)
    return result


def _prepared(plan: Round, tool: Tool, operation: str, deed: Deed, dest: Path) -> Commands:
    commands = deed(tool, dest)
    if commands is not None and not plan.counting:
        if not operation.startswith("add"):
            warm(tool.stored())
        os.sync()
    return commands


def _perform(plan: Round, player: Player, operation: str, index: int, commands: list[Command]) -> Result:
    result = _result(plan, player, operation, index)
    print(plan.number, plan.dataset, operation, player.tool.name, end=" ", file=sys.stderr, flush=True)
    try:
        if plan.counting:
            result.requests = count_requests(commands, player.tool.stored, plan.timeout)
        else:
            _note(result, measure(commands, plan.timeout, plan.nice))
            _inspect(plan, player.tool, operation, index, result)
    except Failed as failed:
        result.error = str(failed)
        result.stopped_s = failed.seconds if isinstance(failed, Stopped) else None
        player.alive = not operation.startswith("add")  # without this version nothing later means anything
    what = f"{result.requests} requests" if plan.counting else f"{result.wall_s} s"
    print(result.error or what, file=sys.stderr, flush=True)
    return result


def _inspect(plan: Round, tool: Tool, operation: str, index: int, result: Result) -> None:
    """Compare what an operation restored, measure what it stored."""
    if operation.startswith("fetch"):
        result.error = difference(plan.versions[index], tool.restored(plan.dest(operation, tool)))
        result.identical = result.error is None
    if operation.startswith("add-v"):
        stored = measure_size(tool.stored())
        result.stored_bytes, result.stored_on_disk = stored.length, stored.on_disk
        result.stored_objects = stored.files


def _result(plan: Round, player: Player, operation: str, index: int) -> Result:
    """Return the facts of an operation that has not begun."""
    return Result(
        tool=player.tool.name,
        version=player.version,
        dataset=plan.dataset,
        scale=plan.scale,
        operation=operation,
        run=plan.number,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        load=round(os.getloadavg()[0], 2),
        source_bytes=plan.sizes[index].length,
        source_files=plan.sizes[index].files,
        machine=plan.machine,
    )


def _note(result: Result, usage: Usage) -> None:
    result.wall_s = round(usage.wall_s, 4)
    result.user_s, result.sys_s = round(usage.user_s, 4), round(usage.sys_s, 4)
    result.rss_largest, result.rss_tree = usage.rss_largest, usage.rss_tree
