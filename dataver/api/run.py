"""Runs that the user names: `with dataver.run("train") as run:`."""

from typing import TYPE_CHECKING, Self

from dataver.api.version import Version
from dataver.errors import InvalidInput
from dataver.formats.entry import Kind
from dataver.formats.event import Subset
from dataver.lineage.attribution.owner import fresh_key, key_of
from dataver.lineage.attribution.scopes import CURRENT
from dataver.lineage.record.recorder import begin_run, end_run, record, record_output
from dataver.lineage.record.run import link_of
from dataver.tree.selection import Given, Selection

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from dataver.api.repository import Repository
    from dataver.lineage.attribution.state import Scope

# Imports in functions: a run is often named where no repository is opened.

__all__ = ["Run", "run", "use"]


class Run:
    """One execution that consumes and produces versions. Get one from `dataver.run`.

    Inside its `with` block every fetch of this process and its child processes is linked to it, and every
    finalized version is its output. Its outcome is failed if an exception leaves the block.
    """

    def __init__(self, key: str, name: str | None) -> None:
        self._key = key
        self._name = name
        self._scope: Scope | None = None
        self._token: Token[Scope | None] | None = None

    def __repr__(self) -> str:
        return f"Run({self._key!r}{f', {self._name!r}' if self._name else ''})"

    @property
    def key(self) -> str:
        """The key that names it, as in `dataver lineage run <key>`."""
        return self._key

    @property
    def name(self) -> str | None:
        """The name that the user chose."""
        return self._name

    def use(
        self,
        version: Version | str,
        *,
        include: Given | None = None,
        exclude: Given = (),
        repo: "Repository | None" = None,
    ) -> None:
        """Record that it consumed a version which it did not fetch through dataver.

        Args:
            version: the version, or a reference to it.
            include: patterns, if only a part was used.
            exclude: patterns of files that were not used.
            repo: the repository of the reference; None means the one that `dataver.open()` opens.

        Raises:
            NotFound: the version does not exist, or a pattern matches nothing in it.
            InvalidInput: the version is not uploaded.
        """
        use(version, include=include, exclude=exclude, run=self._key, repo=repo)

    def produced(self, version: Version | str, *, repo: "Repository | None" = None) -> None:
        """Record that it produced a version which was finalized elsewhere.

        Args:
            version: the version, or a reference to it.
            repo: the repository of the reference; None means the one that `dataver.open()` opens.

        Raises:
            NotFound: the version does not exist.
        """
        found = _version(version, repo)
        record_output(found._repository, found._record, found.record_id, how="declared", run=self._key)

    def __enter__(self) -> Self:
        self._scope = begin_run(self._key, self._name)
        self._token = CURRENT.set(self._scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        end_run(self._scope, _outcome(error))
        if self._token is not None:
            CURRENT.reset(self._token)
            self._token = None


def run(name: str | None = None, *, key: str | None = None) -> Run:
    """Return a run to work in.

        with dataver.run("train") as run:
            folder = dataver.fetch("vision/cats@1.2.0")
            ...
        print(repo.lineage.run(run.key).inputs)

    It is not needed under an experiment tracker or an orchestrator: without it, the run is that of
    `DATAVER_RUN`, else the active one of MLflow, ClearML, W&B, Trackio, Comet or ZenML, else the
    task or job of Airflow, Prefect, Dagster, Metaflow, Kubeflow, SageMaker, AzureML, Databricks, Ray, SLURM,
    GitHub Actions or torchrun, else one that all processes of a script share. With it, these are recorded
    around it.

    Args:
        name: a name for display; need not be unique.
        key: join or name a run by `system:id`; None creates a new one.

    Raises:
        InvalidInput: `key` is not `system:id`.
    """
    return Run(key_of(key)[0] if key is not None else fresh_key(), name)


def use(
    version: Version | str,
    *,
    include: Given | None = None,
    exclude: Given = (),
    run: object = None,
    repo: "Repository | None" = None,
) -> None:
    """Link a version to the current run as read, without reading it.

    Use this for data that comes from the cache of another program, such as `datasets.load_dataset`.

    Args:
        version: the version, or a reference to it.
        include: patterns, if only a part was used.
        exclude: patterns of files that were not used.
        run: the run, as in `fetch`; None means the current one.
        repo: the repository of the reference; None means the one that `dataver.open()` opens.

    Raises:
        NotFound: the version does not exist, or a pattern matches nothing in it.
        InvalidInput: the version is not uploaded.
    """
    found = _version(version, repo)
    if found.record_id is None:
        raise InvalidInput(f"{found.ref} is not uploaded yet; no run can use it.", hint="upload it first")
    selection = Selection.of(found.tree, include, exclude)
    files, size = _chosen(found, selection)
    part = Subset(patterns=selection.include, exclude=selection.exclude)
    link = link_of("input", found._record, found.record_id, "declared", subset=part, files=files, size=size)
    record(found._repository, link, run=run, asked=version if isinstance(version, str) else None)


def _version(version: Version | str, repo: "Repository | None") -> Version:
    if isinstance(version, Version):
        return version
    if repo is None:
        from dataver.api.opening import open as open_repository

        repo = open_repository()
    return repo.version(version)


def _chosen(version: Version, selection: Selection) -> tuple[int, int]:
    """Return the number of files in a selection and their bytes."""
    if selection.whole:
        return version.file_count, version.size
    selection.require(version.tree)
    sizes = [
        leaf.sizes[number]
        for leaf, numbers in selection.parts(version.tree)
        for number in numbers
        if leaf.kinds[number] in (Kind.FILE, Kind.EXECUTABLE)
    ]
    return len(sizes), sum(sizes)


def _outcome(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "killed" if isinstance(error, KeyboardInterrupt) else "failed"
