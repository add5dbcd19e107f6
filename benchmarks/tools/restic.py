"""restic: a backup program with chunks cut by content; it always encrypts."""

import json
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.base import Commands, Tool

__all__ = ["Restic"]


class Restic(Tool):
    """A local repository; a version is a snapshot with its label as a tag."""

    name = "restic"
    source = "Debian: restic"
    executable = "restic"

    @property
    def env(self) -> dict[str, str]:
        return super().env | {"RESTIC_REPOSITORY": str(self.home / "repository"), "RESTIC_PASSWORD": "bench"}

    def version(self) -> str:
        return self.do("version").split()[1]

    def prepare(self) -> None:
        self.do("init")

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("backup", "--tag", label, ".", cwd=folder)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.command("restore", self._snapshot(label), "--target", dest)]

    def stored(self) -> list[Path]:
        return [self.home / "repository"]

    def start(self) -> Commands:
        return [self.command("version")]

    def verify(self, label: str) -> Commands:  # noqa: ARG002
        return [self.command("check", "--read-data")]

    def diff(self, one: str, other: str) -> Commands:
        return [self.command("diff", self._snapshot(one), self._snapshot(other))]

    def list(self, label: str) -> Commands:
        return [self.command("ls", self._snapshot(label))]

    def _snapshot(self, label: str) -> str:
        return str(json.loads(self.do("snapshots", "--json", "--tag", label))[-1]["id"])
