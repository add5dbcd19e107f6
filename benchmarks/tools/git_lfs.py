"""Git LFS: whole files beside git, pointers in it."""

from pathlib import Path

from benchmarks.measure import Command, run
from benchmarks.tools.base import Commands, Tool

__all__ = ["GitLfs"]


class GitLfs(Tool):
    """A version is a tagged commit, a restore a work tree of the same repository.

    git's own clean-up is off: it would start in the background and run while other tools are measured.
    """

    name = "git-lfs"
    source = "Debian: git-lfs"
    executable = "git-lfs"
    in_place = True

    @property
    def env(self) -> dict[str, str]:
        who = {
            f"GIT_{role}_{field}": "bench" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
        }
        return super().env | who

    def version(self) -> str:
        return self.do("--version").split("/")[1].split()[0]

    def prepare(self) -> None:
        self._work.mkdir(parents=True)
        for words in (["init", "-q"], ["config", "gc.auto", "0"]):
            run(self.other("git", *words, cwd=self._work))
        self.do("install", "--local", cwd=self._work)
        self.do("track", "data/**", cwd=self._work)

    def add(self, folder: Path, label: str) -> list[Command]:  # noqa: ARG002
        script = f"git add . && git commit -q --allow-empty -m {label} && git tag {label}"
        return [self.shell(script, cwd=self._work)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        run(self.other("git", "worktree", "prune", cwd=self._work))
        return [self.other("git", "worktree", "add", "--detach", dest, label, cwd=self._work)]

    def restored(self, dest: Path) -> Path:
        return dest / "data"

    def stored(self) -> list[Path]:
        return [self._work / ".git"]

    def start(self) -> Commands:
        return [self.command("--version")]

    def verify(self, label: str) -> Commands:
        return [self.command("fsck", label, cwd=self._work)]

    def diff(self, one: str, other: str) -> Commands:
        return [self.other("git", "diff", "--name-status", one, other, cwd=self._work)]

    def list(self, label: str) -> Commands:
        return [self.other("git", "ls-tree", "-r", "--name-only", label, cwd=self._work)]

    @property
    def _work(self) -> Path:
        return self.home / "work"
