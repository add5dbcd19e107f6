"""Verification of all lineage of a repository: reports damaged and missing objects.

Events and bundles are compared with their checksums and names, attachments with the hash in their name.
Read-only.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from dataver import parallel
from dataver.errors import DataverError, NotFound, StoreError
from dataver.progress import SILENT
from dataver.repository.layout import attachment_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.formats.event import Event
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore
    from dataver.storage import ObjectInfo

__all__ = ["LineageVerification", "verify_lineage"]

_WINDOW: Final = 1_000  # objects requested together

T = TypeVar("T")
R = TypeVar("R")


class LineageVerification(NamedTuple):
    """The result of a verification.

    Attributes:
        events: number of intact events.
        attachments: number of intact attachments of these events.
        problems: `(key, reason)` of everything else.
        objects: number of objects read.
        size: their bytes; of attachments, before compression.
    """

    events: int
    attachments: int
    problems: list[tuple[str, str]]
    objects: int
    size: int


def verify_lineage(repo: RepositoryCore, progress: Progress = SILENT) -> LineageVerification:
    """Read every event, and every attachment that an event refers to.

    Raises:
        StoreError: the store cannot be reached.
    """
    problems: list[tuple[str, str]] = []
    named: set[str] = set()
    count = 0

    def events(info: ObjectInfo) -> list[Event] | DataverError:
        try:
            found = repo.events.parse(info.key, repo.events.read(info.key, info.size))
        except NotFound:
            return []  # bundled in the meantime
        except StoreError:
            raise
        except DataverError as error:
            return error
        problems.extend((info.key, each) for each in found.problems)
        return found.events

    def attachment(digest: str) -> DataverError | int:
        try:
            return len(repo.events.attachment(digest))
        except StoreError:
            raise
        except DataverError as error:
            return error

    infos = list(repo.events.list())
    size = sum(info.size for info in infos)
    progress.start(len(infos), size)
    for info, found in _in_parallel(events, iter(infos)):
        progress.advance(1, info.size)
        if isinstance(found, DataverError):
            problems.append((info.key, found.message))
            continue
        count += len(found)
        named.update(digest for event in found for digest in event.attachments)
    intact = 0
    for digest, read in _in_parallel(attachment, iter(sorted(named))):
        if isinstance(read, DataverError):
            problems.append((attachment_key(digest), read.message))
        else:
            intact += 1
            size += read
    return LineageVerification(count, intact, sorted(problems), len(infos) + len(named), size)


def _in_parallel(call: Callable[[T], R], items: Iterator[T]) -> Iterator[tuple[T, R]]:
    with parallel.pool(parallel.REQUESTS, "verify") as pool:
        while some := list(islice(items, _WINDOW)):
            yield from zip(some, pool.map(call, some), strict=True)
