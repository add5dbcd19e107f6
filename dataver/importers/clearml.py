"""Datasets of ClearML: from its server, from the bucket or folder alone, or from offline sessions.

A dataset's version is a task with the artifacts `state` (JSON: its files, each with SHA-256 and the task that
has the bytes in zip files, and its parents) and `data`, `data_001` … (zip files of what it added). Below the
storage location a task is the folder `<project>/.datasets/<name>/<task name>.<id>/artifacts/`; an offline
session has the same layout below `data/`, and the task's facts in `task.json`.

The idea: a reader lists the tasks, and everything else follows from the states. A bucket has no
labels, tags and descriptions of versions; a server and a session have. States are hostile until checked: they
are bounded and parsed strictly, and only a session on this machine may name local files.
"""

import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote

from dataver.errors import DataverError, IntegrityError, InvalidInput
from dataver.importers.clearml_zips import MemberIndex, Opener
from dataver.importers.names import dataset_name, tag_name
from dataver.importers.source import Checksum, Problems, Source, SourceFile, SourceVersion
from dataver.lru import LRUCache
from dataver.machine.configuration import options_for
from dataver.storage import Store, open_store
from dataver.storage.memory import MemoryStore

__all__ = ["ClearMLReader", "ClearMLSource", "ClearMLTask", "FolderReader"]

_MOST: Final = 1 << 30  # bytes of a state: some three million files
_KEPT: Final = 64  # parsed states
_ITEMS: Final = 1_000_000  # and their files
_STATE: Final = re.compile(r"(?:(.*)/)?\.datasets/([^/]+)/[^/]*\.([^/.]+)/artifacts/state/[^/]+")
_ZIP: Final = re.compile(r"(.*/artifacts/)([^/]+)/[^/]+\.zip")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_IN_PROGRESS: Final = "it is in progress: files were added that are not uploaded; repeat the import later"
_AUTOMATIC: Final = ("Auto-generated at", "external files")  # ClearML's own comment and tag

Field = TypeVar("Field")


class ClearMLTask(NamedTuple):
    """A version of a dataset.

    Attributes:
        id: the task's id.
        project: the project of the dataset.
        name: the name of the dataset.
        state: returns the bytes of its state.
        zips: openers of its zip files, by artifact.
        created: its time, aware; None if unknown.
        facts: `version`, `tags`, `status`, `comment` and `user`, as far as they are known.
        session: whether it is an offline session, whose files are where they were.
    """

    id: str
    project: str
    name: str
    state: Callable[[], bytes]
    zips: Mapping[str, Sequence[Opener]]
    created: datetime | None = None
    facts: Mapping[str, Any] = {}
    session: bool = False


class ClearMLReader(Protocol):
    """Finds tasks."""

    location: str

    def tasks(self, problems: Problems) -> Iterable[ClearMLTask]:
        """Yield the tasks of datasets; those that cannot be read become problems."""
        ...


class Item(NamedTuple):
    """A file in a state: its owner is the task that has the bytes; `at` is a URL, or a local path.

    The size may be unknown.
    """

    path: str
    hash: str
    owner: str
    size: int | None
    artifact: str
    at: str


@dataclass(frozen=True)
class State:
    """A parsed state: parents, files and links by path, and whether files are not uploaded yet."""

    parents: tuple[str, ...]
    files: dict[str, Item]
    links: dict[str, Item]
    dirty: bool

    @cached_property
    def by_hash(self) -> dict[str, list[Item]]:
        """Its files by their hashes."""
        found: dict[str, list[Item]] = {}
        for item in self.files.values():
            found.setdefault(item.hash, []).append(item)
        return found


class ClearMLSource(Source):
    """The datasets that a reader finds.

    Args:
        reader: finds the tasks.
        project: only datasets of this project, and of those below.
        name: only datasets of this name.
    """

    kind = "clearml"

    def __init__(self, reader: ClearMLReader, project: str | None = None, name: str | None = None) -> None:
        super().__init__(reader.location)
        self._reader, self._project, self._name = reader, project, name
        self._tasks: dict[str, ClearMLTask] = {}
        self._states: LRUCache[str, State] = LRUCache(_KEPT, _ITEMS, lambda state: len(state.files))
        self._parsing = threading.Lock()  # `_open` is called on several threads
        self._members = MemberIndex()

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions, every parent before its children; see `Source.versions`.

        Raises:
            InvalidInput: there is no dataset.
            StoreError: the place cannot be reached.
        """
        self._tasks = {each.id: each for each in self._reader.tasks(self.problems)}
        parents: dict[str, tuple[str, ...]] = {}
        in_time = sorted(
            self._tasks.values(), key=lambda each: each.created.timestamp() if each.created else 0.0
        )
        for task in filter(self._is_wanted, in_time):
            try:
                state = self._state(task)
            except DataverError as error:
                self.problems.append((f"{task.project}/{task.name} ({task.id})", error.message))
            else:
                if state.dirty and not task.session:
                    self.problems.append((f"{task.project}/{task.name} ({task.id})", _IN_PROGRESS))
                else:
                    parents[task.id] = state.parents
        if not parents and not self.problems:
            raise InvalidInput(f"there are no ClearML datasets in {self.location}.")
        order = [self._tasks[key] for key in self._ordered(parents)]
        newest = {(each.project, each.name, tag): each.id for each in order for tag in _tags(each)}
        first: dict[str, str] = {}  # by name here, the name there
        for task in order:
            full = f"{task.project}/{task.name}"
            dataset = dataset_name(full)
            if first.setdefault(dataset, full) != full:
                reason = f"it has the same name as '{first[dataset]}' here, {dataset}, and is there as a fork"
                self.problems.append((f"{full} ({task.id})", reason))
            yield SourceVersion(
                key=task.id,
                dataset=dataset,
                files=partial(self._files, task),
                parents=tuple(key for key in parents[task.id] if key in parents),
                message=_comment(task),
                author=_text(task.facts, "user"),
                created=task.created,
                label=tag_name(_text(task.facts, "version")),
                tags=tuple(tag for tag in _tags(task) if newest[task.project, task.name, tag] == task.id),
                metadata={"clearml": _note(task)},
            )

    def _is_wanted(self, task: ClearMLTask) -> bool:
        below = (task.project + "/").startswith(f"{self._project}/")
        return (not self._project or below) and self._name in (None, task.name)

    def _ordered(self, parents: dict[str, tuple[str, ...]]) -> list[str]:
        """Return the keys, parents first; a task that is its own ancestor is left out."""
        while True:
            known = {key: [each for each in above if each in parents] for key, above in parents.items()}
            try:
                return list(TopologicalSorter(known).static_order())
            except CycleError as error:
                key = str(error.args[1][0])
                self.problems.append((key, "it is its own ancestor"))
                del parents[key]

    def _state(self, task: ClearMLTask) -> State:
        with self._parsing:
            found = self._states.get(task.id)
            if found is None:
                found = parse_state(task.state(), task.id)
                self._states.put(task.id, found)
            return found

    def _files(self, task: ClearMLTask) -> Iterator[SourceFile]:
        state = self._state(task)
        for item in sorted(state.files.values(), key=lambda each: (each.owner, each.artifact)):
            check = Checksum("sha256", item.hash)
            yield SourceFile(item.path, f"sha256:{item.hash}", item.size, check=check, **self._at(task, item))
        for item in state.links.values():
            if item.path not in state.files:
                linked = Checksum("sha256", item.hash) if item.hash else None
                content = f"sha256:{item.hash}" if item.hash else f"link:{item.at}:{item.size}"
                url, size = item.at.removeprefix("file://"), item.size or None  # ClearML may not know it
                yield SourceFile(item.path, content, size, check=linked, url=url, external=True)

    def _at(self, task: ClearMLTask, item: Item) -> dict[str, Any]:
        """Return where the bytes of a file are, as arguments of `SourceFile`."""
        owner = self._tasks.get(item.owner)
        if owner and owner.zips:
            return {"read": partial(self._open, owner, item)}
        if task.session and item.at:
            return {"url": item.at}
        return {"missing": f"its bytes are in zip files of the ClearML task {item.owner}, which are missing"}

    def _open(self, owner: ClearMLTask, item: Item) -> IO[bytes]:
        """Open the member of a zip file of the task that has the bytes of a file.

        A renamed file is in the zip file under its old name, which the owner's state has with the same hash.
        """
        same = [item]
        with suppress(DataverError):
            same += self._state(owner).by_hash.get(item.hash, ())
        artifacts = dict.fromkeys([*(each.artifact for each in same), *owner.zips])
        openers = [
            (f"{owner.id}/{name}/{n}", each)
            for name in artifacts
            for n, each in enumerate(owner.zips.get(name, ()))
        ]
        return self._members.open(openers, [each.path for each in same], item.size, item.hash)


class FolderReader:
    """Tasks in a bucket or folder, and offline sessions as folders or zip files.

    Args:
        location: the folder, the zip file of a session, or a URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._store: Store
        if zipped := Path(location).is_file():
            self._store = _unpacked(location)
        else:
            self._store = open_store(location, options_for(location))
        self._here = zipped or self._store.local_root is not None

    def tasks(self, problems: Problems) -> Iterator[ClearMLTask]:
        """Yield the tasks whose states are found; see `ClearMLReader.tasks`."""
        zips: dict[str, dict[str, list[Opener]]] = {}
        states: list[tuple[re.Match[str], datetime | None]] = []
        sessions: set[PurePosixPath] = set()
        for info in self._store.list():
            if found := _ZIP.fullmatch(info.key):
                opener = partial(_place, self._store, info.key)
                zips.setdefault(found[1], {}).setdefault(found[2], []).append(opener)
            elif found := _STATE.fullmatch(info.key):
                states.append((found, info.modified))
            elif info.key.rpartition("/")[2] == "task.json":
                sessions.add(PurePosixPath(info.key).parent)
        for found, modified in states:
            key, project = found[0], unquote(found[1] or "")
            there = zips.get(key.rpartition("state/")[0], {})
            read = partial(self._store.get_bounded, key, _MOST)
            task = ClearMLTask(found[3], project, unquote(found[2]), read, there, modified)
            root = next((folder for folder in PurePosixPath(key).parents if folder in sessions), None)
            if root is None:
                yield task
                continue
            about = str(root / "task.json")
            try:
                facts = _of_session(json.loads(self._store.get_bounded(about, _MOST)))
            except (DataverError, ValueError, RecursionError, AttributeError) as error:
                problems.append((about, f"it is damaged: {error}"))
                continue
            project = project.removeprefix(str(root / "data")).lstrip("/")
            yield task._replace(project=project, session=self._here, facts=facts)


def _place(store: Store, key: str) -> tuple[Store, str]:
    return store, key


def parse_state(data: bytes, task: str) -> State:
    """Return a parsed state.

    Raises:
        IntegrityError: it is not a state.
    """
    try:
        values = json.loads(data)
        graph = values["dependency_graph"]
        parents = tuple(str(each) for each in graph.get(values.get("id", task), graph.get(task, ())))
        files = [_item(each, "local_path") for each in values["dataset_file_entries"]]
        links = [_item(each, "link") for each in values.get("dataset_link_entries") or ()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise IntegrityError(f"the state of the ClearML task {task} is damaged: {reason}.") from error
    return State(
        tuple(each for each in parents if each != task),
        {each.path: each for each in files},
        {each.path: each for each in links},
        values.get("dirty") is True,
    )


def _item(entry: Mapping[str, Any], where: str) -> Item:
    size = entry.get("size")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise ValueError(f"a size is {size!r}")
    value = _text(entry, "hash").lower()
    if where != "link" and not _HASH.fullmatch(value):
        raise ValueError(f"'{_text(entry, 'relative_path')}' has no SHA-256")
    return Item(
        _text(entry, "relative_path"),
        value if _HASH.fullmatch(value) else "",
        _text(entry, "parent_dataset_id"),
        size,
        _text(entry, "artifact_name"),
        _text(entry, where),
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    found = values.get(key)
    return found if isinstance(found, str) else ""


def _tags(task: ClearMLTask) -> list[str]:
    given = [*task.facts.get("tags", ()), *(["published"] if task.facts.get("status") == "published" else [])]
    return list(dict.fromkeys(str(each) for each in given if each != _AUTOMATIC[1]))


def _comment(task: ClearMLTask) -> str:
    found = _text(task.facts, "comment")
    return "" if found.startswith(_AUTOMATIC[0]) else found


def _note(task: ClearMLTask) -> dict[str, Any]:
    """Return what `dataver.compat.clearml` keeps of a dataset."""
    note = {"id": task.id, "project": task.project, "name": task.name}
    return note | {key: task.facts[key] for key in ("tags", "status", "version") if task.facts.get(key)}


def _of_session(task: Mapping[str, Any]) -> dict[str, Any]:
    version = ((task.get("hyperparams") or {}).get("properties") or {}).get("version") or {}
    tags, words = task.get("tags"), ("comment", "user")
    facts: dict[str, Any] = {key: task.get(key) for key in words} | {"version": version.get("value")}
    return facts | {"tags": [str(each) for each in tags] if isinstance(tags, list) else []}


def _unpacked(location: str) -> MemoryStore:
    """Return the JSON files in the zip file of a session."""
    store = MemoryStore(location)
    try:
        with zipfile.ZipFile(location) as archive:
            for info in archive.infolist():
                if info.filename.endswith(("/state.json", "task.json")) and info.file_size <= _MOST:
                    store.put(info.filename, archive.read(info))
    except Exception as error:  # zipfile raises many kinds
        raise InvalidInput(
            f"{location} cannot be read as a zip file of an offline session: {error}."
        ) from error
    return store
