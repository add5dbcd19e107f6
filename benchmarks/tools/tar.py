"""`tar | zstd -1 -T2`: the practical limit of reading, compressing and writing one file."""

import shutil
from pathlib import Path

from benchmarks.measure import Command, run
from benchmarks.tools.base import Commands, Tool, shell_quote

__all__ = ["Tar"]


class Tar(Tool):
    """Each version is an archive."""

    name = "tar"
    source = "tar and zstd"
    executable = "tar"

    @classmethod
    def find(cls) -> list[str] | None:
        return super().find() if shutil.which("zstd") else None

    def version(self) -> str:
        zstd = run(self.other("zstd", "--version")).split(" v")[-1].split(",")[0]
        return f"{self.do('--version').splitlines()[0].split()[-1]}, zstd {zstd}"

    def prepare(self) -> None:
        (self.home / "archives").mkdir()

    def add(self, folder: Path, label: str) -> list[Command]:
        pack = shell_quote(*self.program, "-C", folder, "-cf", "-", ".")
        return [self.shell(f"{pack} | zstd -1 -T2 -q -o {shell_quote(self._archive(label))}")]

    def restore(self, label: str, dest: Path) -> list[Command]:
        unpack = shell_quote(*self.program, "-C", dest, "-xf", "-")
        return [
            self.shell(f"mkdir {shell_quote(dest)}; zstd -dcq {shell_quote(self._archive(label))} | {unpack}")
        ]

    def stored(self) -> list[Path]:
        return [self.home / "archives"]

    def verify(self, label: str) -> Commands:
        return [self.other("zstd", "-tq", self._archive(label))]

    def list(self, label: str) -> Commands:
        return [
            self.shell(f"zstd -dcq {shell_quote(self._archive(label))} | {shell_quote(*self.program)} -tvf -")
        ]

    def _archive(self, label: str) -> Path:
        return self.home / "archives" / f"{label}.tar.zst"
