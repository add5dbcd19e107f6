"""Borg: a backup program with chunks cut by content; here without encryption."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.base import Commands, Tool

__all__ = ["Borg"]


class Borg(Tool):
    """A local repository; a version is an archive."""

    name = "borg"
    source = "PyPI: borgbackup, or Debian: borgbackup"
    executable = "borg"

    @property
    def env(self) -> dict[str, str]:
        return super().env | {
            "BORG_REPO": str(self.home / "repository"),
            "BORG_BASE_DIR": str(self.home / "user"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def version(self) -> str:
        return self.do("--version").split()[-1]

    def prepare(self) -> None:
        self.do("init", "--encryption", "none")

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("create", f"::{label}", ".", cwd=folder)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        dest.mkdir()
        return [self.command("extract", f"::{label}", cwd=dest)]

    def stored(self) -> list[Path]:
        return [self.home / "repository"]

    def start(self) -> Commands:
        return [self.command("--version")]

    def verify(self, label: str) -> Commands:  # noqa: ARG002
        return [self.command("check", "--verify-data")]

    def diff(self, one: str, other: str) -> Commands:
        return [self.command("diff", f"::{one}", other)]

    def list(self, label: str) -> Commands:
        return [self.command("list", f"::{label}")]
