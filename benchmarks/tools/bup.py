"""bup: git packs of chunks cut by content."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.base import Commands, Tool

__all__ = ["Bup"]


class Bup(Tool):
    """A local repository; a version is a branch, made by `bup index` and `bup save`. It has no diff."""

    name = "bup"
    source = "Debian: bup"
    executable = "bup"

    @property
    def env(self) -> dict[str, str]:
        return super().env | {"BUP_DIR": str(self.home / "repository")}

    def version(self) -> str:
        return self.do("--version").strip()

    def prepare(self) -> None:
        self.do("init")

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("index", folder), self.command("save", "--strip", "-n", label, folder)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.command("restore", "-C", dest, f"/{label}/latest/.")]

    def stored(self) -> list[Path]:
        return [self.home / "repository"]

    def start(self) -> Commands:
        return [self.command("--version")]

    def verify(self, label: str) -> Commands:  # noqa: ARG002
        return [self.command("fsck")]
