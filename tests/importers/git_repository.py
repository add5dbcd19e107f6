"""A git repository that tests write, an hour a commit."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_WHO = {
    **{f"GIT_{role}_NAME": "Ana" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ana@example.org" for role in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
BEGAN = 1_700_000_000


class GitRepository:
    """A working copy.

    Args:
        folder: its folder, which is created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commits = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.run("init", "-q", "-b", "main")

    def run(self, *words: str) -> str:
        """Run git and return what it prints."""
        when = f"{BEGAN + 3600 * self.commits} +0200"
        environment = os.environ | _WHO | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        command = ["git", *words]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=self.folder, env=environment
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, bytes | None]) -> None:
        """Write files; None removes one."""
        for path, data in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if data is None:
                target.unlink()
            else:
                target.write_bytes(data)

    def commit(self, message: str, files: Mapping[str, bytes | None] | None = None) -> str:
        """Write files and commit everything; return the commit."""
        self.commits += 1
        self.write(files or {})
        self.run("add", "-A")
        self.run("commit", "-q", "--allow-empty", "-m", message)
        return self.run("rev-parse", "HEAD")

    def merge(
        self, branch: str, message: str = "merge", files: Mapping[str, bytes | None] | None = None
    ) -> str:
        """Merge a branch, with files as its result; return the commit."""
        self.run("merge", "-q", "--no-ff", "--no-commit", "-s", "ours", branch)
        return self.commit(message, files)
