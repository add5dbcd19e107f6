"""hf-xet: the chunk store of the Hugging Face hub, with the local store its developers test with."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.python_peer import PythonPeer

__all__ = ["HfXet"]


class HfXet(PythonPeer):
    """A version is a manifest of names and hashes. Verify, diff and list are the hub's, not the library's."""

    name = "hf-xet"
    source = "PyPI: hf-xet"
    package = "hf-xet"
    module = "hf_xet"
    driver = "drive_hf_xet.py"

    def prepare(self) -> None:
        (self.home / "repository").mkdir()

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.drive("add", folder, self._store, self._manifest(label))]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.drive("restore", self._manifest(label), self._store, dest)]

    def stored(self) -> list[Path]:
        return [self.home / "repository"]

    @property
    def _store(self) -> Path:
        return self.home / "repository" / "store"

    def _manifest(self, label: str) -> Path:
        return self.home / "repository" / f"{label}.json"
