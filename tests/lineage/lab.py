"""A machine with a repository on it, for tests that run real processes with lineage on."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import dataver
from copies import Copy
from dataver.lineage.record.queue_file import waiting
from dataver.repository.events import Events
from dataver.storage import open_store

__all__ = ["Lab"]


def _publish(folder: Path) -> None:
    """Publish two versions of `cats` from `work/photos`."""
    repo, photos = dataver.init(folder / "repository"), folder / "work" / "photos"
    (photos / "train").mkdir(parents=True)
    for number in (1, 2):
        (photos / "train" / "a.jpg").write_bytes(b"a" * number)
        (photos / "labels.csv").write_text("a,b\n")
        repo.sync(photos, "cats", workspace=folder / "work")
    shutil.rmtree(folder / "cache")  # processes in the lab begin without one


class Lab:
    """A repository with two versions of `cats`, and what processes need to use it.

    Attributes:
        root: the folder of all.
        repository: the repository's folder.
        work: where processes run.
        environment: what they get.
    """

    def __init__(self, root: Path, copy_of: Copy) -> None:
        self.root, self.repository, self.work = root, root / "repository", root / "work"
        keep = {name: value for name, value in os.environ.items() if not name.startswith("DATAVER_")}
        self.environment = keep | {
            "DATAVER_CACHE": str(root / "cache"),
            "DATAVER_STATE": str(root / "state"),
            "DATAVER_REPO": str(self.repository),
        }
        copy_of(_publish, root)
        repo = dataver.open(self.repository)
        self.id = repo._core.local_name
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("DATAVER_CACHE", self.environment["DATAVER_CACHE"])
            for number in (0, 1):
                repo.fetch(f"cats@1.0.{number}")

    @property
    def queue(self) -> Path:
        """The folder of the queue."""
        return self.root / "state" / "lineage" / self.id / "queue"

    def start(
        self, code: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start Python with this code, from a file, as a person would."""
        script = self.work / f"script{len(list(self.work.glob('script*')))}.py"
        script.write_text(textwrap.dedent(code))
        return subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=self.work,
            env=self.environment | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, code: str, *arguments: str, environment: dict[str, str] | None = None, fails: bool = False
    ) -> str:
        """Run Python with this code; return what it printed, errors first."""
        process = self.start(code, *arguments, environment=environment)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        assert (process.returncode != 0) == fails, err
        return err + out

    def command(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `dataver` with these arguments."""
        return subprocess.run(
            [sys.executable, "-m", "dataver_cli", *arguments],
            cwd=self.work,
            env=self.environment | (environment or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def events(self) -> list:
        """Return the events in the repository, in the order of writing."""
        events = Events(open_store(str(self.repository)))
        return [event for info in events.list() for event in events.get(info.key)]

    def attachment(self, digest: str) -> bytes:
        """Return an attachment from the repository."""
        return Events(open_store(str(self.repository))).attachment(digest)

    def links(self) -> dict:
        """Return the links of each run in the repository, as `(role, label, how)`."""
        found: dict = {}
        for event in self.events():
            links = found.setdefault(event.run.key, set())
            links |= {(link.role, link.label, link.how) for link in event.links}
        return found

    def waiting(self) -> list:
        """Return the events in the queue."""
        return waiting(self.queue)
