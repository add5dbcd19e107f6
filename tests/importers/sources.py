"""A source that tests write down: versions with bytes by path."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dataver.hashing.checksums import Checksum
from dataver.importers.source import SourceFile, SourceVersion

BEGAN = datetime(2024, 5, 1, 12, tzinfo=UTC)


def file(path: str, data: bytes, **values: Any) -> SourceFile:
    """Return a file with these bytes, which is read from memory unless `values` say otherwise."""
    md5 = hashlib.md5(data).hexdigest()
    given = {"read": lambda: io.BytesIO(data), "check": Checksum("md5", md5), "size": len(data)}
    if "url" in values or "missing" in values:
        del given["read"]
    return SourceFile(path, f"md5:{md5}", **(given | values))


class WrittenSource:
    """A source with the versions that a test adds, an hour apart.

    Attributes:
        rows: the versions.
    """

    kind = "written"
    location = "a test"

    def __init__(self, dataset: str = "cats") -> None:
        self.dataset = dataset
        self.rows: list[SourceVersion] = []
        self.problems: list[tuple[str, str]] = []
        self.stores: Mapping[str, Mapping[str, Any]] = {}

    def add(
        self, key: str, *files: SourceFile, parents: tuple[str, ...] | None = None, **values: Any
    ) -> SourceVersion:
        """Add a version; without `parents` it is a child of the one before."""
        before = (self.rows[-1].key,) if self.rows else ()
        values = {"created": BEGAN + timedelta(hours=len(self.rows)), "author": "ana"} | values
        version = SourceVersion(
            key=key,
            dataset=self.dataset,
            files=lambda: files,
            parents=before if parents is None else parents,
            message=f"version {key}",
            **values,
        )
        self.rows.append(version)
        return version

    def versions(self) -> Iterator[SourceVersion]:
        """Yield them."""
        return iter(self.rows)
