"""What all differences of contents have in common, and the files that they compare."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from dataver.errors import InvalidInput, message_of

__all__ = ["BytesDiff", "ContentDiff", "File", "broken", "finite"]


class File(NamedTuple):
    """A file of a version: its path there, the version's ref, its size in bytes, and how to fetch it."""

    path: str
    ref: str
    size: int
    fetch: Callable[[], Path]

    def __str__(self) -> str:
        return f"'{self.path}' in {self.ref}"


class ContentDiff(ABC):
    """Difference between the contents of two files; true if they differ.

    Attributes:
        kind: table, json, text, image, array or bytes.
    """

    kind: str

    @abstractmethod
    def __bool__(self) -> bool: ...

    def close(self) -> None:  # noqa: B027  # most have nothing to release
        """Delete temporary files; `with` does this, too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def summary(self) -> str:
        """Return the counts in one phrase, such as "12 rows changed"."""

    @abstractmethod
    def values(self, limit: int | None = None) -> dict[str, Any]:
        """Return the difference as JSON values, with at most `limit` items of each list."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary()})"


class BytesDiff(ContentDiff):
    """Difference between files whose contents are not compared.

    Attributes:
        paths: the old and the new path.
        old, new: sizes in bytes.
        reason: why their contents are not compared; empty if they are equal.
    """

    kind = "bytes"

    def __init__(self, old: File, new: File, reason: str) -> None:
        self.old, self.new, self.reason = old.size, new.size, reason
        self.paths = old.path, new.path

    def __bool__(self) -> bool:
        return bool(self.reason)

    def summary(self) -> str:
        """Return the reason and the sizes."""
        if self.reason:
            return f"{self.reason}; {self.old:,} bytes -> {self.new:,} bytes"
        moved = ", {} -> {}".format(*self.paths) if self.paths[0] != self.paths[1] else ""
        return f"the same content{moved}"

    def values(self, limit: int | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return the paths, the sizes and the reason."""
        paths = dict(zip(("old", "new"), self.paths, strict=True))
        return {"paths": paths, "size": {"old": self.old, "new": self.new}, "reason": self.reason}


def broken(file: File, what: str, error: BaseException) -> InvalidInput:
    """Return the error of a file that is not what its name promises: "a table", "an image"."""
    text = (message_of(error).strip() or type(error).__name__).splitlines()[0]
    return InvalidInput(f"{file} cannot be read as {what}: {text.rstrip('.')}.")


def finite(value: Any) -> Any:
    """Return a value with NaN and infinite numbers in it as text, since JSON has none."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
