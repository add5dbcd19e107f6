"""The plan of an import: versions to make and contents to read, found without reading any content."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from dataver.api.repository import Repository
from dataver.errors import DataverError
from dataver.importers.history import ImportedHistory
from dataver.importers.importing import listed, refused
from dataver.importers.reading import Places, local_path
from dataver.importers.source import Problems, Source, SourceFile, SourceVersion
from dataver.lru import LRUCache
from dataver.machine.speeds import Rate, recent_rate
from dataver.repository.external_trust import is_allowed
from dataver.short_repr import short_repr

__all__ = ["ImportPlan", "plan_import"]

_KEPT = 4  # versions whose contents are kept by name: a parent is needed by its next children


@dataclass
class ImportPlan:
    """Plan of an import. Sizes in bytes.

    Attributes:
        versions: `(dataset, key, message)` of versions to be made.
        known: versions that an earlier import brought.
        files: contents to be read.
        size: their bytes, as far as the source states them.
        unsized: contents among them whose size the source does not state.
        stored: the most that is stored of them; nothing is stored of contents that stay in place.
        places: URLs that this machine would be allowed to read.
        seconds: expected time; None if the speed is unknown.
        speed: the assumed bytes per second, and the origin of the number; None if unknown.
        problems: `(name, reason)` of what cannot be brought, as far as is known without reading.
    """

    versions: list[tuple[str, str, str]] = field(default_factory=list)
    known: int = 0
    files: int = 0
    size: int = 0
    unsized: int = 0
    stored: int = 0
    places: list[str] = field(default_factory=list)
    seconds: float | None = None
    speed: Rate | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def plan_import(repo: Repository, source: Source, *, in_place: bool = False) -> ImportPlan:
    """Return what `import_versions` with these arguments would do; reads no content and changes nothing.

    Arguments and errors as for `import_versions`.
    """
    plan = ImportPlan()
    staying: list[SourceFile] = []
    for file in _new_contents(repo, source, plan):
        size = _size(file)
        if file.stays(in_place):
            staying.append(file._replace(size=size))
        else:
            _count(plan, size)
            plan.stored += size or 0
    plan.problems += source.problems
    for place, files in Places(source).outside(staying, plan.problems):
        if not is_allowed(place, repo.url):
            if not in_place:
                plan.problems += refused(place, files)
                continue
            plan.places.append(place)
        for each in files:
            _count(plan, each.size or None)  # a size that is unknown is 0 here
    plan.speed = recent_rate(repo._core.local_name, "upload")
    if plan.speed is not None:
        plan.seconds = plan.size / plan.speed.speed
    return plan


def _new_contents(repo: Repository, source: Source, plan: ImportPlan) -> Iterator[SourceFile]:
    """Yield each content of a version to be made that its parents do not have; count versions."""
    history, before = ImportedHistory(repo._core, source.kind), _Contents()
    for wanted in source.versions():
        deleted = history.is_deleted(wanted)
        if deleted or history.find(wanted) is not None:
            plan.known += 1
            before.add(wanted if wanted.lasting else replace(wanted, files=tuple), there=not deleted)
            continue
        problems: Problems = []
        files = listed(wanted, problems)
        plan.problems += [(f"{name} in {wanted.key}", reason) for name, reason in problems]
        before.add(wanted, there=files is not None)
        if files is None:
            continue
        plan.problems += history.beside(wanted.dataset)
        plan.versions.append((wanted.dataset, wanted.key, wanted.message))
        there = before.of(wanted.parents)
        yield from {
            file.content: file
            for file in files.values()
            if (file.url or file.read) and file.content not in there
        }.values()
        before.keep(wanted.key, files)


class _Contents:
    """Names of the contents of versions; those of few are kept, and others are listed again."""

    def __init__(self) -> None:
        self._versions: dict[str, SourceVersion] = {}
        self._instead: dict[str, tuple[str, ...]] = {}  # for keys without a version, the nearest before with
        self._kept: LRUCache[str, set[str]] = LRUCache(_KEPT)

    def add(self, wanted: SourceVersion, *, there: bool) -> None:
        if there:
            self._versions[wanted.key] = wanted
        else:
            self._instead[wanted.key] = self._versions_of(wanted.parents)

    def keep(self, key: str, files: Mapping[str, SourceFile]) -> None:
        self._kept.put(key, {file.content for file in files.values()})

    def of(self, keys: Iterable[str]) -> set[str]:
        """Return the names of the contents of versions, or of those before them."""
        found = set[str]()
        for key in self._versions_of(keys):
            if (names := self._kept.get(key)) is None:
                self.keep(key, listed(self._versions[key], []) or {})
                names = self._kept.get(key) or set()
            found |= names
        return found

    def _versions_of(self, keys: Iterable[str]) -> tuple[str, ...]:
        found = ((key,) if key in self._versions else self._instead.get(key, ()) for key in keys)
        return tuple(dict.fromkeys(chain.from_iterable(found)))


def _count(plan: ImportPlan, size: int | None) -> None:
    plan.files += 1
    plan.size += size or 0
    plan.unsized += size is None


def _size(file: SourceFile) -> int | None:
    if file.size is not None:
        return file.size
    try:
        path = local_path(file)
        return path.stat().st_size if path is not None else None
    except (DataverError, OSError):
        return None
