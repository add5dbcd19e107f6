"""What scripts use around a dataset: its task, logger and metadata; `Task` and `StorageManager`.

Artifacts of a dataset are files in the folder `.clearml` of the version: JSON, arrays as `.npy`, and data
frames as JSON tables. Nothing is pickled. Plots and samples that a script reports are not stored, since
dataver shows the files themselves. `Task` has only what scripts about datasets call: runs are recorded by
dataver or by a tracker.
"""

import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dataver.compat.clearml.contents import DatasetContents
from dataver.compat.clearml.facts import META
from dataver.errors import InvalidInput
from dataver.storage import open_store

# Imports in functions: pandas and NumPy, if the script uses them.

__all__ = [
    "DatasetTask",
    "Logger",
    "StorageManager",
    "Task",
    "current_task",
    "on_agent",
    "project_and_name",
]

_log = logging.getLogger("dataver.compat.clearml")
_TABLE, _ARRAY, _JSON = ".table.json", ".npy", ".json"


class Artifact(NamedTuple):
    """An artifact of a dataset."""

    name: str
    get: Callable[[], Any]


class Logger:
    """Receiver of texts; plots, tables and samples are left out."""

    _told = False

    def report_text(self, msg: str, *_: object, **__: object) -> None:
        """Log a text."""
        _log.info("%s", msg)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith(("report_", "set_", "flush")):
            raise AttributeError(name)
        return self._leave_out

    def _leave_out(self, *_: object, **__: object) -> None:
        if not Logger._told:
            Logger._told = True
            _log.warning("plots and samples of a dataset are not stored; `dataver ui` shows its files.")


class Task:
    """The current run, as far as scripts about datasets ask for it."""

    _current: "Task | None" = None

    def __init__(self, task_id: str, name: str, project: str) -> None:
        self.id = task_id
        self.name = name
        self._project = project

    @classmethod
    def init(cls, project_name: str | None = None, task_name: str | None = None, **_: object) -> "Task":
        """Return the current run, with these names."""
        Task._current = Task(os.urandom(16).hex(), task_name or "", project_name or "")
        return Task._current

    @classmethod
    def current_task(cls) -> "Task | None":
        """Return the run of `init`, None before it."""
        return Task._current

    @classmethod
    def get_task(cls, task_id: str, **_: object) -> "DatasetTask":
        """Return the task of a dataset, by the dataset's id."""
        return DatasetTask(DatasetContents._by_id(task_id))

    def get_project_name(self) -> str:
        """Return the project."""
        return self._project

    def connect(self, mutable: Any, name: str | None = None, **_: object) -> Any:
        """Return the parameters unchanged."""
        return mutable

    def get_logger(self) -> Logger:
        """Return a logger."""
        return Logger()

    def close(self) -> None:
        """End the run."""
        Task._current = None


class DatasetTask(Task):
    """The task of a dataset, which ClearML stores it in."""

    def __init__(self, dataset: DatasetContents) -> None:
        super().__init__(dataset.id, dataset.name, dataset.project)
        self._dataset = dataset

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The artifacts of the dataset by name; their bytes are read when they are asked for."""
        found = {
            path[len(META) + 1 :].partition(".")[0]: path
            for path in self._dataset._held.tree.paths(f"{META}/")
        }
        return {name: Artifact(name, partial(self._load, path)) for name, path in found.items()}

    def _load(self, path: str) -> Any:
        return _decoded(path, self._dataset._read(path))

    def upload_artifact(self, name: str, artifact_object: Any, **_: object) -> bool:
        """Store an artifact in the dataset: JSON values, a NumPy array or a pandas DataFrame.

        Raises:
            InvalidInput: it is something else, the name is not that of a file, or the dataset is finalized.
        """
        suffix, data = _encoded(name, artifact_object)
        self._dataset._write(f"{META}/{name.replace('.', '_')}", suffix, data)
        return True


def current_task() -> Any:
    """Return ClearML's current task if its package is in use, else that of `Task.init`, else None."""
    real = getattr(sys.modules.get("clearml"), "Task", None)
    return (real.current_task() if real else None) or Task._current


class StorageManager:
    """Downloads of single files."""

    @staticmethod
    def get_local_copy(
        remote_url: str, cache_context: str | None = None, extract_archive: bool = True, **_: object
    ) -> str:
        """Return the path of a file, or of the folder with the contents of an archive.

        A local path is returned as it is. Anything else is downloaded to a temporary folder.

        Raises:
            NotFound: it does not exist.
            StoreError: it cannot be reached.
        """
        path = Path(remote_url.removeprefix("file://"))
        if "://" in str(path):
            above, name = remote_url.rsplit("/", 1)
            path = Path(tempfile.mkdtemp(prefix="dataver-")) / name
            path.write_bytes(open_store(above).get(name))
        if not extract_archive or not path.name.endswith((".zip", ".tar.gz", ".tgz")):
            return str(path)
        folder = tempfile.mkdtemp(prefix="dataver-")
        if path.suffix == ".zip":
            shutil.unpack_archive(str(path), folder, "zip")
        else:
            shutil.unpack_archive(str(path), folder, "gztar", filter="data")
        return folder


def _encoded(name: str, value: Any) -> tuple[str, bytes]:
    kinds = {kind.__name__ for kind in type(value).__mro__ if kind.__module__.startswith(("numpy", "pandas"))}
    if "DataFrame" in kinds:
        return _TABLE, value.to_json(orient="table").encode()
    if "ndarray" in kinds:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return _ARRAY, buffer.getvalue()
    try:
        return _JSON, json.dumps(value).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"'{name}' cannot be stored: {error}.", hint="store JSON values, an array or a DataFrame"
        ) from error


def _decoded(path: str, data: bytes) -> Any:
    if path.endswith(_TABLE):
        import pandas as pd

        return pd.read_json(io.BytesIO(data), orient="table")
    if path.endswith(_ARRAY):
        import numpy as np

        return np.load(io.BytesIO(data), allow_pickle=False)
    return json.loads(data)


def project_and_name(
    project: str | None, name: str | None, last: tuple[str, str] | None, *, use_task: bool
) -> tuple[str, str]:
    """Return the project and the name of a new dataset.

    Args:
        project: the given project.
        name: the given name.
        last: project and name of the last parent; None without parents.
        use_task: take what is not given from the current task.

    Raises:
        InvalidInput: one of them is not known.
    """
    task = current_task()
    if task and (use_task or (project is None and name is None)):
        project, name = project or task.get_project_name(), name or task.name
    if name and not project:
        project = task.get_project_name() if task else last and last[0]
    if project and name is None and last:
        name = last[1]
    if not project or not name:
        raise InvalidInput("a dataset needs a project and a name.", hint="give dataset_project, dataset_name")
    return project, name


def on_agent() -> bool:
    """Return whether ClearML's agent runs this process."""
    running = getattr(sys.modules.get("clearml.config"), "running_remotely", None)
    return bool(running and running())
