"""DVC in a git repository: the folder as one output, copied into DVC's cache as by default."""

from pathlib import Path

from benchmarks.measure import Command, run
from benchmarks.tools.base import Commands, Tool

__all__ = ["Dvc"]


class Dvc(Tool):
    """A version is a tagged commit of `data.dvc`; what is stored is DVC's cache and git's folder.

    A restore clones the git repository, points it at the same DVC cache and checks out. DVC does not check
    what its cache holds.
    """

    name = "dvc"
    source = "PyPI: dvc"
    executable = "dvc"
    in_place = True

    @property
    def env(self) -> dict[str, str]:
        who = {
            f"GIT_{role}_{field}": "bench" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
        }
        return super().env | who | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self.home / "site")}

    def version(self) -> str:
        return self.do("--version").strip()

    def prepare(self) -> None:
        self._work.mkdir(parents=True)
        run(self.other("git", "init", "-q", cwd=self._work))
        self.do("init", "-q", cwd=self._work)
        self.do("config", "core.check_update", "false", cwd=self._work)
        run(self.other("git", "commit", "-qam", "start", cwd=self._work))

    def add(self, folder: Path, label: str) -> list[Command]:
        return [
            self.command("add", folder.name, cwd=self._work),
            self.shell(
                f"git add . && git commit -q --allow-empty -m {label} && git tag {label}", cwd=self._work
            ),
        ]

    def restore(self, label: str, dest: Path) -> list[Command]:
        run(self.other("git", "clone", "-q", "--branch", label, self._work, dest))
        self.do("config", "--local", "cache.dir", self._work / ".dvc" / "cache", cwd=dest)
        return [self.command("checkout", cwd=dest)]

    def restored(self, dest: Path) -> Path:
        return dest / "data"

    def stored(self) -> list[Path]:
        return [self._work / ".dvc" / "cache", self._work / ".git"]

    def start(self) -> Commands:
        return [self.command("--version")]

    def diff(self, one: str, other: str) -> Commands:
        return [self.command("diff", one, other, cwd=self._work)]

    def list(self, label: str) -> Commands:
        return [self.command("list", ".", "--recursive", "--rev", label, cwd=self._work)]

    @property
    def _work(self) -> Path:
        return self.home / "work"
