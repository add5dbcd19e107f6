"""`clearml.Dataset` on a dataver repository: no server, and no package of ClearML.

    from dataver.compat.clearml import Dataset        # instead of: from clearml import Dataset

`docs/coming-from/clearml.md` says what differs.
"""

from dataver.compat.clearml.artifacts import StorageManager, Task
from dataver.compat.clearml.dataset import Dataset
from dataver.compat.clearml.entries import FileEntry, LinkEntry
from dataver.compat.clearml.facts import set_repository

__all__ = ["Dataset", "FileEntry", "LinkEntry", "StorageManager", "Task", "set_repository"]
