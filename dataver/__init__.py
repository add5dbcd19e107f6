"""Content-addressed dataset versions for machine learning teams.

    import dataver

    repo = dataver.init("s3://ml-data/repo")             # once; dataver.open() afterwards
    draft = repo.create("vision/cats")
    draft.add("photos/", dest="train")
    draft.finalize("July photos")
    version = draft.upload().version                     # visible to everyone, atomically

    folder = dataver.fetch("vision/cats@1.0.0").path     # in the training job: read-only

What is listed in `__all__` is public; every other name may change without notice. Names are imported when
they are first used, so that `import dataver` costs a training job nothing.
"""

from typing import TYPE_CHECKING

from dataver._about import __version__

if TYPE_CHECKING:
    from dataver.api.config import Config
    from dataver.api.dataset import DatasetSummary
    from dataver.api.diff import Diff
    from dataver.api.draft import Draft
    from dataver.api.forking import Worker, join_draft
    from dataver.api.lockfile import LockedVersion, LockFile
    from dataver.api.opening import fetch, init, open  # noqa: A004
    from dataver.api.repository import Repository
    from dataver.api.run import Run, run, use
    from dataver.api.sync import SyncReport
    from dataver.api.transfer import mirror
    from dataver.api.version import UploadReport, Version
    from dataver.checkout.fetching import FetchReport
    from dataver.errors import (
        AlreadyExists,
        Conflict,
        DataverError,
        FormatTooNew,
        Incomplete,
        IntegrityError,
        InternalError,
        InvalidInput,
        NotFound,
        PathNotFound,
        StoreError,
    )
    from dataver.formats.entry import Entry, Kind
    from dataver.formats.fork import Part
    from dataver.ingest.add_operation import AddReport
    from dataver.ingest.join_parts import JoinReport
    from dataver.lineage.settings import LineageWarning
    from dataver.machine.configuration import Setting
    from dataver.reading import Files
    from dataver.transfer.move import MoveReport

__all__ = [
    "AddReport",
    "AlreadyExists",
    "Config",
    "Conflict",
    "DatasetSummary",
    "DataverError",
    "Diff",
    "Draft",
    "Entry",
    "FetchReport",
    "Files",
    "FormatTooNew",
    "Incomplete",
    "IntegrityError",
    "InternalError",
    "InvalidInput",
    "JoinReport",
    "Kind",
    "LineageWarning",
    "LockFile",
    "LockedVersion",
    "MoveReport",
    "NotFound",
    "Part",
    "PathNotFound",
    "Repository",
    "Run",
    "Setting",
    "StoreError",
    "SyncReport",
    "UploadReport",
    "Version",
    "Worker",
    "__version__",
    "fetch",
    "init",
    "join_draft",
    "mirror",
    "open",
    "run",
    "use",
]

_HOMES = {
    "dataver.api.config": ("Config",),
    "dataver.api.diff": ("Diff",),
    "dataver.api.draft": ("Draft",),
    "dataver.api.forking": ("Worker", "join_draft"),
    "dataver.api.lockfile": ("LockFile", "LockedVersion"),
    "dataver.api.transfer": ("mirror",),
    "dataver.api.opening": ("fetch", "init", "open"),
    "dataver.api.repository": ("Repository",),
    "dataver.api.run": ("Run", "run", "use"),
    "dataver.api.sync": ("SyncReport",),
    "dataver.api.dataset": ("DatasetSummary",),
    "dataver.api.version": ("UploadReport", "Version"),
    "dataver.checkout.fetching": ("FetchReport",),
    "dataver.formats.entry": ("Entry", "Kind"),
    "dataver.formats.fork": ("Part",),
    "dataver.machine.configuration": ("Setting",),
    "dataver.ingest.add_operation": ("AddReport",),
    "dataver.ingest.join_parts": ("JoinReport",),
    "dataver.lineage.settings": ("LineageWarning",),
    "dataver.reading.files": ("Files",),
    "dataver.transfer.move": ("MoveReport",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dataver' has no attribute '{name}'")
    from importlib import import_module  # a name is used, not only `import dataver`

    value = getattr(import_module(_HOME.get(name, "dataver.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
