"""The plan of an import: versions to make and contents to read, found without reading any content."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dataver.api.repository import Repository
from dataver.errors import DataverError
from dataver.importers.history import ImportedHistory
from dataver.importers.importing import listed, refused
from dataver.importers.reading import Places, local_path
from dataver.importers.source import Problems, Source, SourceFile
from dataver.machine.speeds import Rate, recent_rate
from dataver.repository.external_trust import is_allowed
from dataver.short_repr import short_repr

__all__ = ["ImportPlan", "plan_import"]


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
    for outside in Places(source).outsides(staying, plan.problems):
        if not is_allowed(outside.place, repo.url):
            if not in_place:
                plan.problems += refused(outside)
                continue
            plan.places.append(outside.place)
        for each in outside.files:
            _count(plan, each.size or None)  # a size that is unknown is 0 here
    plan.speed = recent_rate(repo._core.local_name, "upload")
    if plan.speed is not None:
        plan.seconds = plan.size / plan.speed.speed
    return plan


def _new_contents(repo: Repository, source: Source, plan: ImportPlan) -> Iterator[SourceFile]:
    """Yield each content once that versions to be made have; count versions."""
    history = ImportedHistory(repo._core, source.kind)
    seen: set[str] = set()
    for wanted in source.versions():
        known = history.find(wanted) is not None or history.is_deleted(wanted)
        problems: Problems = []
        files = listed(wanted, problems)
        plan.known += known
        if files is not None and not known:
            plan.problems += history.beside(wanted.dataset)
            plan.versions.append((wanted.dataset, wanted.key, wanted.message))
        for file in (files or {}).values():
            if file.content not in seen and (file.url or file.read):
                seen.add(file.content)
                if not known:
                    yield file
        if not known:
            plan.problems += [(f"{name} in {wanted.key}", reason) for name, reason in problems]


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
