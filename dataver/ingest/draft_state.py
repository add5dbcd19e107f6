"""The state of a draft, one small JSON file replaced atomically; and the drafts of a workspace.

    .dataver/drafts/<id>/         draft.json · blocks · packs/

A draft whose file cannot be read is skipped by every command that does not name it. A repository inside the
workspace is recorded by its relative path, so that both can be moved together.

A draft depends on the contents of its repository, and copies of a repository share its id. So it is bound to
a location as well. If the repository is at a new location and no longer at the old one, it was moved, and the
draft follows it.

Keeps invariant 4: `draft.json` is written to a temporary file, synced and renamed, after everything it names;
so after a crash the draft is in the state before or after the command, never between.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from filelock import FileLock, Timeout

from dataver.errors import (
    Conflict,
    DataverError,
    IntegrityError,
    InvalidInput,
    NotFound,
    StoreError,
    message_of,
)
from dataver.formats.canonical_json import is_hex
from dataver.machine.configuration import options_for
from dataver.machine.paths import FOLDER
from dataver.repository import RepositoryCore, open_repository
from dataver.storage.durable import replace_file

__all__ = [
    "DraftState",
    "belongs",
    "draft_folder",
    "draft_lock",
    "find_draft",
    "follow",
    "kept_in",
    "list_damaged",
    "list_drafts",
    "load_state",
    "make_draft_folder",
    "save_state",
    "sealed_alike",
]

_STATE = "draft.json"
_YOUNG = {"spool", "mirrors", "location", "forked", "stated", "notes"}  # absent in drafts of an older dataver
_STATUS = ("open", "sealed", "uploaded")
_LOCK_WAIT = 600.0  # seconds to wait for another command on the same draft


@dataclass
class DraftState:
    """One draft. Digests are hex; times are ISO 8601 in UTC.

    Attributes:
        id: 12 hex characters.
        repository: the URL as the user gave it; of a folder, its absolute path.
        repository_id: the repository's random id; the draft belongs to it alone.
        dataset: the dataset it will be a version of.
        parents: `{dataset, label, record, tree}` of each parent.
        base: the tree it started from: its parent's, or its parents' merged.
        tree: the current tree.
        status: "open", "sealed" or "uploaded".
        created: the time of creation.
        conflicts: paths that its parents changed differently.
        sealed: the record as `finalize` fixed it, without the label.
        label: the label the user chose, if any.
        bump: the part of the automatic label to increment.
        attempted: the label last tried, in case the reply was lost.
        published: the label it got.
        spool: the limit of bytes of unsent packs while files are added; 0 if `upload` sends all packs.
        mirrors: the source that a one-step `sync` mirrors; None for other drafts.
        location: the repository's `Store.location`: a copy of it, which has the same id, is another one.
        forked: whether it was forked, so that workers may have left parts in the repository.
        stated: for each tree that was forked, the tree of the entries that joined parts left as they were.
        notes: JSON values that an interface of another tool keeps with the draft (`dataver.compat`).
    """

    id: str
    repository: str
    repository_id: str
    dataset: str
    base: str
    tree: str
    created: str
    parents: list[dict[str, str]] = field(default_factory=list)
    status: str = "open"
    conflicts: list[str] = field(default_factory=list)
    sealed: dict[str, Any] | None = None
    label: str | None = None
    bump: str = "patch"
    attempted: str | None = None
    published: str | None = None
    spool: int = 0
    mirrors: str | None = None
    location: str = ""
    forked: bool = False
    stated: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def draft_folder(workspace: Path, draft_id: str) -> Path:
    """Return the folder of a draft."""
    return workspace / FOLDER / "drafts" / draft_id


def make_draft_folder(workspace: Path, folder: Path) -> None:
    """Create the folder of a draft, and exclude `.dataver` from git.

    Raises:
        InvalidInput: it cannot be created there.
    """
    top = workspace / FOLDER
    try:
        (folder / "packs").mkdir(parents=True)
        ignore = top / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n!config.toml\n!.gitignore\n", "utf-8")
    except OSError as error:
        raise InvalidInput(
            f"a draft cannot be kept in {top}: {error.strerror}.",
            hint="run the command in a folder you may write to, or give workspace=",
        ) from error


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Translate `OSError` into `StoreError`; the draft stays as the last finished command left it."""
    try:
        yield
    except DataverError:
        raise  # some DataverErrors are OSErrors, too
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"the draft in {folder} cannot be written: {error.strerror or error}{where}.",
            hint="make room or fix permissions there and repeat the command; nothing is lost",
        ) from error


def sealed_alike(state: DraftState, sealed: dict[str, Any], label: str | None, bump: str) -> bool:
    """Return whether sealing would restore the draft's state before it was reopened."""
    before = state.sealed or {}
    words = ("message", "metadata", "author")
    return (before.get("tree"), state.label, state.bump) == (state.tree, label, bump) and all(
        before[word] == sealed[word] for word in words
    )


def save_state(folder: Path, state: DraftState) -> None:
    """Replace `draft.json` atomically and durably."""
    values = asdict(state)
    workspace = folder.parents[2]
    if "://" not in state.repository and Path(state.repository).is_relative_to(workspace):
        values["repository"] = Path(state.repository).relative_to(workspace).as_posix()
    replace_file(folder / _STATE, json.dumps(values, indent=1), durable=True)


def load_state(folder: Path) -> DraftState:
    """Read `draft.json`.

    Raises:
        NotFound: the draft does not exist.
        StoreError: it cannot be read.
        IntegrityError: the file is damaged.
    """
    path = folder / _STATE
    try:
        values = json.loads(path.read_bytes())
        names = [each.name for each in fields(DraftState) if each.name in values or each.name not in _YOUNG]
        state = DraftState(**{name: values[name] for name in names})
        _check(state, folder.name)
    except FileNotFoundError as error:
        if os.path.isdir(folder / "packs"):  # noqa: PTH112  # never raises
            raise _damaged(folder, "it is missing") from error
        raise NotFound(
            f"there is no draft {folder.name} here.", hint="`dataver drafts` lists them"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="check the folder's owner and mode",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {message_of(error)}") from error
    if "://" not in state.repository:
        state.repository = str(folder.parents[2] / state.repository)
    return state


def list_drafts(workspace: Path) -> list[DraftState]:
    """Return the readable drafts of a workspace, oldest first."""
    return sorted(_load_all(workspace)[0], key=lambda state: (state.created, state.id))


def list_damaged(workspace: Path) -> list[tuple[str, DataverError]]:
    """Return the ids of the unreadable drafts of a workspace, with the errors."""
    return _load_all(workspace)[1]


def find_draft(workspace: Path, wanted: str) -> str:
    """Return the id of the draft that an id or its prefix names, readable or not.

    Raises:
        NotFound: there is none.
        InvalidInput: several match.
    """
    fitting = [name for name in _names(workspace) if name.startswith(wanted)]
    if not fitting or not wanted:
        raise NotFound(f"there is no draft '{wanted}' here.", hint="`dataver drafts` lists them")
    if len(fitting) > 1:
        raise InvalidInput(
            f"'{wanted}' matches several drafts: {', '.join(fitting)}.", hint="give more characters of the id"
        )
    return fitting[0]


@contextmanager
def draft_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a draft.

    Raises:
        Conflict: another command holds it for too long.
        StoreError: the disk failed.
    """
    lock = FileLock(folder / "lock", timeout=_LOCK_WAIT)
    with kept_in(folder):
        try:
            lock.acquire()
        except Timeout as error:
            raise Conflict(
                f"draft {folder.name} is being changed by another command.", hint="try again"
            ) from error
        try:
            yield
        finally:
            lock.release()


def _names(workspace: Path) -> list[str]:
    try:
        return sorted(path.name for path in (workspace / FOLDER / "drafts").iterdir())
    except OSError:
        return []


def _load_all(workspace: Path) -> tuple[list[DraftState], list[tuple[str, DataverError]]]:
    states: list[DraftState] = []
    damaged: list[tuple[str, DataverError]] = []
    for name in _names(workspace):
        try:
            states.append(load_state(draft_folder(workspace, name)))
        except NotFound:
            continue  # it is being created or removed
        except DataverError as error:
            damaged.append((name, error))
    return states, damaged


def _damaged(folder: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{folder / _STATE} is damaged: {why}.",
        hint=f"`dataver discard --draft {folder.name}` drops this draft; other drafts are not affected",
    )


def _check(state: DraftState, name: str) -> None:
    """Raise ValueError if a state is invalid for the draft of that name."""
    for each in fields(DraftState):
        if not _is_a(getattr(state, each.name), each.type):
            raise ValueError(f"'{each.name}' is of the wrong type")
    if state.id != name or state.status not in _STATUS:
        raise ValueError(
            "it belongs to another draft" if state.id != name else f"unknown status '{state.status}'"
        )
    if not (is_hex(state.base, 64) and is_hex(state.tree, 64) and is_hex(state.repository_id, 32)):
        raise ValueError("a digest or id is not hex")
    if datetime.fromisoformat(state.created).tzinfo is None:
        raise ValueError("'created' has no time zone")
    for parent in state.parents:
        if not all(_is_a(parent[word], str) for word in ("dataset", "label", "record", "tree")):
            raise ValueError("a parent is invalid")


def _is_a(value: object, kind: Any) -> bool:
    """Return whether a JSON value has the type of a field; does not check items of lists and tables."""
    if NoneType in get_args(kind):
        return value is None or _is_a(value, next(each for each in get_args(kind) if each is not NoneType))
    return isinstance(value, get_origin(kind) or kind)


def belongs(state: DraftState, repository: RepositoryCore) -> bool:
    """Return whether a draft belongs to a repository."""
    if state.repository_id != repository.id:
        return False
    return state.location == repository.store.location or not _still_there(state, repository)


def follow(state: DraftState, repository: RepositoryCore, workspace: Path) -> DraftState:
    """Record the new location of a draft's repository if it was moved; return the draft's state."""
    location = repository.store.location
    if state.location == location:
        return state
    folder = draft_folder(workspace, state.id)
    with draft_lock(folder):
        state = replace(load_state(folder), repository=repository.url, location=location)
        save_state(folder, state)
    return state


def _still_there(state: DraftState, repository: RepositoryCore) -> bool:
    """Return whether the draft's URL still leads to the repository, at another location than this one."""
    try:
        found = open_repository(state.repository, options_for(state.repository))
        return found.id == state.repository_id and found.store.location != repository.store.location
    except DataverError:
        return False
