"""Runs that the user names: `with dataver.run("train") as run:`."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from dataver._version import Version
from dataver.errors import InvalidInput
from dataver.formats.event import Subset
from dataver.lineage.recorder import begin_run, end_run, note_input, note_output
from dataver.lineage.which_run import CURRENT, RUN, fresh_key, key_of
from dataver.repository import Published

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from dataver._repository import Repository

__all__ = ["Run", "run"]


class Run:
    """One execution that consumes and produces versions. Get one from `dataver.run`.

    Inside its `with` block every fetch of this process and of the processes it starts is linked to it, and
    every version finalized is its output. It fails if an exception leaves the block.
    """

    def __init__(self, key: str, name: str | None) -> None:
        self._key = key
        self._name = name
        self._token: Token[str | None] | None = None
        self._outside: str | None = None

    def __repr__(self) -> str:
        return f"Run({self._key!r}{f', {self._name!r}' if self._name else ''})"

    @property
    def key(self) -> str:
        """By which it is found: `dataver lineage run <key>`."""
        return self._key

    @property
    def name(self) -> str | None:
        """What the user calls it."""
        return self._name

    def use(
        self,
        version: Version | str,
        *,
        paths: str | Iterable[str] = (),
        repo: "Repository | None" = None,
    ) -> None:
        """Declare that it consumed a version which it did not fetch through dataver.

        Args:
            version: the version, or a reference to it.
            paths: globs, where only a part was used.
            repo: where to look the reference up; None means what `dataver.open()` opens.

        Raises:
            NotFound: no such version.
            InvalidInput: the version is not uploaded.
        """
        found = self._version(version, repo)
        patterns = (paths,) if isinstance(paths, str) else tuple(sorted(set(paths)))
        if found.record_id is None:
            raise InvalidInput(f"{found.ref} is not uploaded yet, so no run used it.", hint="upload it first")
        files, size = _chosen(found, patterns)
        note_input(
            found._repository,
            Published(found._record, found.record_id),
            subset=Subset(patterns=patterns),
            files=files,
            size=size,
            how="declared",
            run=self._key,
            asked=version if isinstance(version, str) else None,
        )

    def produced(self, version: Version | str, *, repo: "Repository | None" = None) -> None:
        """Declare that it produced a version which was finalized elsewhere.

        Raises:
            NotFound: no such version.
        """
        found = self._version(version, repo)
        note_output(found._repository, found._record, found.record_id, how="declared", run=self._key)

    def __enter__(self) -> Self:
        self._outside = os.environ.get(RUN)
        self._token = CURRENT.set(self._key)
        os.environ[RUN] = self._key  # for the processes it starts
        begin_run(self._key, self._name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        end_run(self._key, _outcome(error))
        if self._outside is None:
            os.environ.pop(RUN, None)
        else:
            os.environ[RUN] = self._outside
        if self._token is not None:
            CURRENT.reset(self._token)
            self._token = None

    @staticmethod
    def _version(version: Version | str, repo: "Repository | None") -> Version:
        if isinstance(version, Version):
            return version
        if repo is None:
            from dataver._repository import open as open_repository

            repo = open_repository()
        return repo.version(version)


def run(name: str | None = None, *, key: str | None = None) -> Run:
    """Return a run to work in: `with dataver.run("train") as run:`.

    Nobody needs it under an experiment tracker or an orchestrator: without it, the run is that of
    `DATAVER_RUN`, else the active one of MLflow, ClearML, W&B, Comet, Neptune or ZenML, else the task or job
    of Airflow, Prefect, Dagster, Metaflow, Kubeflow, SageMaker, AzureML, Databricks, Ray, SLURM, GitHub
    Actions or torchrun, else one that all processes of a script share. With it, these are recorded around it.

    Args:
        name: what to call it; need not be unique.
        key: join or name a run by `system:id`; None makes a new one.

    Raises:
        InvalidInput: `key` is none.
    """
    return Run(key_of(key)[0] if key is not None else fresh_key(), name)


def _chosen(version: Version, patterns: tuple[str, ...]) -> tuple[int, int]:
    """Return how many files, and bytes of them, globs choose."""
    if not patterns:
        return version.files, version.size
    from dataver.tree import Selection

    selection = Selection(patterns)
    chosen = [entry for entry in version.entries() if entry.digest and selection.matches(entry.path)]
    return len(chosen), sum(entry.size for entry in chosen)


def _outcome(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "killed" if isinstance(error, KeyboardInterrupt) else "failed"
