"""Gets a tool ready for a round: its version, an empty repository, and a rehearsal that is not measured."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Failed, run
from benchmarks.tools.base import Tool

__all__ = ["Player", "enroll"]


@dataclass
class Player:
    """A tool in a round; one that failed to store a version is out of it."""

    tool: Tool
    version: str | None = None
    alive: bool = True


def enroll(kind: type[Tool], program: list[str], folder: Path) -> tuple[Player, str | None]:
    """Give a tool an empty repository under `folder`; with it comes why it cannot take part, if it cannot."""
    player = Player(kind(folder / kind.name, program))
    try:
        player.version = player.tool.version()
        _rehearse(kind(folder / f"{kind.name}-rehearsal", program))
        player.tool.prepare()
    except Failed as error:
        player.alive = False
        return player, str(error)
    return player, None


def _rehearse(tool: Tool) -> None:
    """Store and restore one small file, so that the programs are in memory and Python's are compiled.

    Nothing is removed before the round is over; `rounds.py` says why.
    """
    tool.prepare()
    folder = tool.data if tool.in_place else tool.home / "data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("rehearsal")
    for command in tool.add(folder, "v1") or []:
        run(command, timeout=120)
    for command in tool.restore("v1", tool.home / "restored") or []:
        run(command, timeout=120)
