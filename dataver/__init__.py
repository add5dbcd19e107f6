"""Content-addressed dataset versions for machine learning teams.

    import dataver

    repo = dataver.init("s3://ml-data/repo")             # once; dataver.open() afterwards
    draft = repo.create("vision/cats")
    draft.add("photos/", dest="train")
    draft.finalize("July photos")
    version = draft.upload().version                     # visible to everyone, atomically

    path = dataver.fetch("vision/cats@1.0.0")            # in the training job: a read-only folder

What is listed in `__all__` is public; every other name may change without notice.
"""

from dataver._about import __version__
from dataver._draft import Draft
from dataver._repository import DatasetSummary, Repository, SyncReport, fetch, init, open  # noqa: A004  # gzip's way
from dataver._version import Diff, UploadReport, Version
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
from dataver.ingest import AddReport

__all__ = [
    "AddReport",
    "AlreadyExists",
    "Conflict",
    "DatasetSummary",
    "DataverError",
    "Diff",
    "Draft",
    "Entry",
    "FormatTooNew",
    "Incomplete",
    "IntegrityError",
    "InternalError",
    "InvalidInput",
    "Kind",
    "NotFound",
    "PathNotFound",
    "Repository",
    "StoreError",
    "SyncReport",
    "UploadReport",
    "Version",
    "__version__",
    "fetch",
    "init",
    "open",
]
