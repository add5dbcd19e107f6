"""Files of a dataset as ClearML describes them, and its rules for wildcards."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["FileEntry", "LinkEntry", "matches"]


@dataclass
class FileEntry:
    """A file whose bytes are in the repository.

    Attributes:
        relative_path: its path in the dataset.
        hash: BLAKE3 of its bytes in hex, not SHA-256 as in ClearML.
        parent_dataset_id: the version in which it has had these bytes first.
        size: its bytes.
        artifact_name: None; there are no zip files.
        local_path: None; added bytes are in the draft at once.
    """

    relative_path: str | None = None
    hash: str | None = None
    parent_dataset_id: str | None = None
    size: int | None = None
    artifact_name: str | None = None
    local_path: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


@dataclass
class LinkEntry:
    """An external file, which stays where it is; `hash` is that of its bytes when it was added."""

    link: str | None = None
    relative_path: str | None = None
    parent_dataset_id: str | None = None
    size: int | None = None
    hash: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


def matches(path: str, wildcard: str | None, *, recursive: bool = True) -> bool:
    """Return whether a wildcard selects a path of a dataset, or a folder above it.

    Recursive: `*.jpg` in any folder, `a/*.jpg` in any folder below `a`. Otherwise part by part.
    """
    wildcard = (wildcard or "*").lstrip("/")
    if not recursive:
        parts, wanted = path.split("/"), wildcard.split("/")
        return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
    if path.startswith(wildcard.rstrip("/") + "/"):
        return True
    folder, slash, name = wildcard.rpartition("/")
    return fnmatchcase(path, f"{folder}{slash}*") and fnmatchcase(f"/{path}", f"*/{name}")
