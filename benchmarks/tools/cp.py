"""`cp -r`: the limit of moving bytes from folder to folder, with nothing deduplicated or compressed."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.base import Commands, Tool

__all__ = ["Cp"]


class Cp(Tool):
    """Each version is a copy of the folder."""

    name = "cp"
    source = "coreutils"
    executable = "cp"

    def version(self) -> str:
        return self.do("--version").split("\n")[0].split()[-1]

    def prepare(self) -> None:
        (self.home / "copies").mkdir()

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("-r", folder, self.home / "copies" / label)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.command("-r", self.home / "copies" / label, dest)]

    def stored(self) -> list[Path]:
        return [self.home / "copies"]

    def diff(self, one: str, other: str) -> Commands:
        return [self.shell(f"diff -rq {one} {other} || test $? = 1", cwd=self.home / "copies")]

    def list(self, label: str) -> Commands:
        return [self.other("ls", "-lR", self.home / "copies" / label)]
