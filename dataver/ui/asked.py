"""What a page is asked for: its query, the repository, and values that several requests share."""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from threading import Lock
from typing import Any, Final, TypeVar

from dataver import DatasetSummary, Repository, Version
from dataver.documents import version_values
from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.lineage.queries.overview import DatasetOverview

__all__ = ["Asked", "Memory"]

_FRESH: Final = 5.0  # seconds
_KEPT: Final = 512
_ROWS: Final = 50
_PATIENCE: Final = 60.0  # seconds that a request waits for a value that another one is making
_T = TypeVar("_T")


class Memory:
    """Values that are made again after some seconds; requests for one that is being made wait for it.

    Attributes:
        undescribed: why descriptions could not be read the last time; None if they were.
    """

    undescribed: str | None = None

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[Future[Any], float]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _T], seconds: float = _FRESH) -> _T:
        """Return the value of a key, made now if it is missing or was made more than `seconds` ago."""
        with self._lock:
            now = time.monotonic()
            self._made = {each: made for each, made in self._made.items() if now < made[1]}
            known = self._made.pop(key, None)
            value, _ = self._made[key] = known or (Future[Any](), math.inf)
            if len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
        if known is None:
            try:
                value.set_result(make())
            except BaseException as error:  # noqa: BLE001  # raised below
                value.set_exception(error)
                seconds = 0.0
            with self._lock:
                if self._made.get(key, (None,))[0] is value:
                    self._made[key] = (value, time.monotonic() + seconds)
        try:
            found: _T = value.result(_PATIENCE)
        except TimeoutError as error:
            raise StoreError(f"the repository has not answered for {_PATIENCE:.0f} s.") from error
        return found

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._made.clear()


class Asked:
    """A request for a page.

    Attributes:
        repository: the repository.
        query: the query of the URL, of each name its last value.
        memory: values that several requests share.
        as_json: whether the document is asked for, not the page.
    """

    def __init__(
        self, repository: Repository, query: Mapping[str, str], memory: Memory, *, as_json: bool = False
    ) -> None:
        self.repository = repository
        self.query = query
        self.memory = memory
        self.as_json = as_json

    def text(self, name: str) -> str:
        """Return a value of the query; an empty text if it is missing."""
        return self.query.get(name, "")

    def required(self, name: str) -> str:
        """Return a value of the query.

        Raises:
            InvalidInput: it is missing.
        """
        if not (found := self.text(name)):
            raise InvalidInput(f"the address lacks the value '{name}'.", hint="go to the list of datasets")
        return found

    def number(self, name: str, default: int, most: int = 10**12) -> int:
        """Return a natural number of the query.

        Raises:
            InvalidInput: it is none, or more than `most`.
        """
        text = self.text(name) or str(default)
        if not (text.isascii() and text.isdigit()) or len(text) > 15 or int(text) > most:
            raise InvalidInput(f"'{name}' in the address must be a number from 0 to {most}.")
        return int(text)

    def version(self, name: str = "ref") -> Version:
        """Return the version that a value of the query names.

        Raises:
            InvalidInput: the value is missing.
            NotFound: there is no such version.
        """
        return self._read(self.required(name))

    def versions(self, dataset: str) -> list[Version]:
        """Return the versions of a dataset, newest first."""
        find = self.repository.versions
        return self.memory.get(("versions", dataset), lambda: self._described(find(dataset)[::-1]))

    def datasets(self) -> list[DatasetSummary]:
        """Return all datasets by name."""

        def read() -> list[DatasetSummary]:
            found = self.repository.datasets()
            self._described([each.latest for each in found])
            return found

        return self.memory.get("datasets", read)

    def described(self, read: Callable[[], _T]) -> _T | None:
        """Return descriptions, as `read` does; None if the store refuses that, which the page says."""
        self.memory.undescribed = None
        try:
            return read()
        except StoreError as error:
            self.memory.undescribed = error.message
            return None

    def _described(self, versions: list[Version]) -> list[Version]:
        """Return versions after reading their descriptions; if that is refused, they have none."""
        if self.described(lambda: [each.description for each in versions]) is None:
            for each in versions:
                each.description = None
        return versions

    def overview(self, dataset: str) -> DatasetOverview:
        """Return the numbers that the lineage has of a dataset."""
        found = self.memory.get("overview", self.repository.lineage.overview)
        return found.get(dataset) or DatasetOverview()

    def before(self, version: Version) -> Version | None:
        """Return the version `old`, else the first parent of a version; None if there is none now."""
        return self.version("old") if self.text("old") else next(iter(self.parents(version, 1)), None)

    def parents(self, version: Version, most: int) -> list[Version | None]:
        """Return the first parents of a version, None for one that was deleted."""
        return [self._parent(f"{each.dataset}@{each.label}", each.record) for each in version.parents[:most]]

    def _parent(self, ref: str, record: str) -> Version | None:
        with suppress(NotFound):
            found = self._read(ref)
            return found if found.record_id == record else None
        return None

    def _read(self, ref: str) -> Version:
        read = self.repository.version
        return self.memory.get(("version", ref), lambda: self._described([read(ref)])[0])

    def tags(self, dataset: str) -> dict[str, str]:
        """Return the label of each tag of a dataset."""
        return self.memory.get(("tags", dataset), lambda: self.repository.tagged(dataset))

    def values(self, version: Version) -> dict[str, Any]:
        """Return a version with its tags as JSON values."""
        tags = self.tags(version.dataset).items()
        return version_values(version, [tag for tag, label in tags if label == version.label])

    def page(self, items: Iterable[_T], total: int, size: int = _ROWS) -> tuple[list[_T], dict[str, int]]:
        """Return the items of the page that the query asks for, and its place: `page`, `pages`, `total`.

        Raises:
            NotFound: there is no such page.
        """
        pages = max(1, -(-total // size))
        number = self.number("page", 1)
        if not 1 <= number <= pages:
            raise NotFound(f"there is no page {number}; the last one is {pages}.")
        start = (number - 1) * size
        return list(islice(items, start, start + size)), {"page": number, "pages": pages, "total": total}
