"""Tasks of ClearML's server, read through its own package."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from dataver.errors import StoreError
from dataver.extras import require_extra
from dataver.importers.asking import ask
from dataver.importers.clearml import ClearMLTask
from dataver.importers.source import Problems
from dataver.storage import Store, open_store

# Imports in functions: ClearML's package is optional.

__all__ = ["ServerReader"]


class ServerReader:
    """The finalized datasets on the server that ClearML's configuration names.

    Raises:
        InvalidInput: the package is not installed.
    """

    def __init__(self) -> None:
        require_extra("clearml", "importing from a ClearML server")
        from clearml.backend_api import Session

        self.location = str(Session.get_api_server_host())

    def tasks(self, problems: Problems) -> Iterator[ClearMLTask]:
        """Yield the tasks; see `ClearMLReader.tasks`.

        Raises:
            StoreError: the server cannot be reached, or refuses.
        """
        from clearml import Dataset, Task

        what, hint = f"the ClearML server {self.location}", "`clearml-init` writes its address and its keys"
        for each in ask(partial(Dataset.list_datasets, only_completed=True), what, hint):
            try:
                yield _task(Task.get_task(task_id=each["id"]), each["version"])
            except Exception as error:  # noqa: BLE001  # the client raises many kinds
                problems.append((f"{each['project']}/{each['name']} ({each['id']})", str(error)))


def _task(task: Any, version: str | None) -> ClearMLTask:
    project, _, name = task.get_project_name().partition("/.datasets/")
    urls = {key: artifact.url for key, artifact in task.artifacts.items()}
    zips = {
        key: [partial(_place, url)] for key, url in urls.items() if key == "data" or key.startswith("data_")
    }
    facts = {
        "version": version,
        "tags": list(task.get_tags() or ()),
        "status": str(task.status),
        "comment": task.comment,
        "user": task.data.user,
    }
    state: Callable[[], bytes] = partial(_content, urls["state"])
    return ClearMLTask(task.id, project, name or task.name, state, zips, task.data.created, facts)


def _place(url: str) -> tuple[Store, str]:
    """Return the place of a downloaded object, as a store and a key."""
    from clearml import StorageManager

    path = StorageManager.get_local_copy(remote_url=url, extract_archive=False)
    if not path:
        raise StoreError(f"{url} cannot be downloaded by ClearML's package.")
    folder, _, name = str(path).rpartition("/")
    return open_store(folder), name


def _content(url: str) -> bytes:
    store, name = _place(url)
    return store.get(name)
