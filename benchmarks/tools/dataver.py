"""dataver itself, by its command line: `sync` is create, add, finalize and upload in one step."""

import importlib.util
import sys
from pathlib import Path

from benchmarks.measure import Command, run
from benchmarks.tools.base import Commands, Tool, find_program

__all__ = ["Dataver"]


class Dataver(Tool):
    """A local repository; fetches use a cache of their own, empty before the first."""

    name = "dataver"
    source = "this project"
    executable = "dataver"

    @classmethod
    def find(cls) -> list[str] | None:
        if found := find_program(cls.name, cls.executable):
            return found
        return [sys.executable, "-m", "dataver_cli"] if importlib.util.find_spec("dataver_cli") else None

    @property
    def env(self) -> dict[str, str]:
        return super().env | {
            "DATAVER_REPO": str(self._repository),
            "DATAVER_CACHE": str(self.home / "cache"),
            "PYTHONDONTWRITEBYTECODE": "",  # run from its source it keeps its bytecode, as installed tools do
        }

    def version(self) -> str:
        return self.do("--version").split()[-1]

    def prepare(self) -> None:
        self.do("init", "--no-config", self._repository, cwd=self.home)

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("sync", folder, "--name", "bench/x", "-m", label, cwd=self.home)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        """v1 is fetched with an empty cache, later versions with the versions before them in it."""
        if label != "v1" and not self._fetch_cache.exists():
            run(self._fetch("v1"))
        return [self._fetch(label, "--dest", dest)]

    def view(self, label: str) -> Commands:
        """The cache of the views is another one: `restore` has put this version into its own already."""
        cache = self.home / "view-cache"
        run(self._fetch("v1", cache=cache))
        return [self._fetch(label, cache=cache)]

    def stored(self) -> list[Path]:
        return [self._repository]

    def start(self) -> Commands:
        return [self.command("--version")]

    def verify(self, label: str) -> Commands:
        return [self.command("verify", self._ref(label), cwd=self.home)]

    def diff(self, one: str, other: str) -> Commands:
        return [self.command("diff", self._ref(one), self._ref(other), cwd=self.home)]

    def list(self, label: str) -> Commands:
        return [self.command("ls", "--recursive", self._ref(label), cwd=self.home)]

    @property
    def _repository(self) -> Path:
        return self.home / "repository"

    @property
    def _fetch_cache(self) -> Path:
        return self.home / "fetch-cache"

    def _fetch(self, label: str, *words: str | Path, cache: Path | None = None) -> Command:
        env = {"DATAVER_CACHE": str(cache or self._fetch_cache)}
        return self.command("fetch", self._ref(label), *words, cwd=self.home, env=env)

    @staticmethod
    def _ref(label: str) -> str:
        return f"bench/x@1.0.{int(label[1:]) - 1}"
