"""All versions of the objects of a bucket that keeps them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from dataver.errors import InvalidInput
from dataver.storage.base import Store
from dataver.storage.s3 import S3Store

__all__ = ["ObjectVersion", "object_versions"]


class ObjectVersion(NamedTuple):
    """A version of an object, or a mark that the object was deleted.

    Attributes:
        key: the object's key.
        id: the version id; "null" of an object written while the bucket kept no versions.
        size: bytes.
        modified: the time at which it was written.
        deleted: whether it marks a deletion.
    """

    key: str
    id: str
    size: int
    modified: datetime
    deleted: bool


def object_versions(store: Store) -> list[ObjectVersion]:
    """Return all versions of all objects of a store, those of each object from the oldest to the newest.

    Raises:
        InvalidInput: the store is not an S3 bucket.
        StoreError: the store refuses or cannot be reached.
    """
    if not isinstance(store, S3Store):
        raise InvalidInput(f"{store.url} is not an S3 bucket, which keeps versions of its objects.")
    found = list(_pages(store))
    found.reverse()  # S3 lists the newest version of an object first
    return found


def _pages(store: S3Store) -> Iterator[ObjectVersion]:
    request: dict[str, Any] = {"Bucket": store._bucket, "Prefix": store._prefix}
    while True:
        list_page = partial(_page, request=dict(request))
        page = store._request("list versions of", "", list_page)
        rows = [(one, False) for one in page.get("Versions", ())]
        rows += [(one, True) for one in page.get("DeleteMarkers", ())]
        # the reply has two lists: merge them by object, newest first
        rows.sort(key=_newest_first)
        for one, deleted in rows:
            key = one["Key"].removeprefix(store._prefix)
            if key and not key.endswith("/"):
                modified = one["LastModified"].astimezone(UTC)
                yield ObjectVersion(key, one["VersionId"], int(one.get("Size", 0)), modified, deleted)
        if not page.get("IsTruncated"):
            return
        request["KeyMarker"] = page["NextKeyMarker"]
        if page.get("NextVersionIdMarker"):
            request["VersionIdMarker"] = page["NextVersionIdMarker"]


def _newest_first(row: tuple[Mapping[str, Any], bool]) -> tuple[str, bool, float]:
    one = row[0]
    return one["Key"], not one.get("IsLatest"), -one["LastModified"].timestamp()


def _page(transport: Any, seconds: float, request: dict[str, Any]) -> Any:
    return transport.call("list_object_versions", request, seconds)
