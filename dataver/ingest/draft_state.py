"""What a draft is, as one small JSON file, replaced atomically; and where drafts lie in a workspace.

    .dataver/current              the id of the draft that commands mean when none is named
    .dataver/drafts/<id>/         draft.json · blocks · packs/

Keeps invariant 4: `draft.json` is written to a temporary file, forced to the disk and renamed, after
everything it names; so after a crash the draft is as it was before or after the command, never between.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dataver.errors import DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.repository.places import FOLDER, find_workspace

__all__ = [
    "DraftState",
    "current_draft",
    "draft_folder",
    "kept_in",
    "list_drafts",
    "load_state",
    "make_draft_folder",
    "save_state",
    "sealed_alike",
    "set_current",
]

_STATE = "draft.json"
_YOUNG = {"spool", "mirrors"}  # which drafts do not have that were begun before packs could be streamed


@dataclass
class DraftState:
    """One draft. Digests are hex; times are ISO 8601 in UTC.

    Attributes:
        id: 12 hex characters.
        repository: the URL as the user gave it.
        repository_id: the repository's random id; a draft never goes to another one.
        dataset: the dataset it will be a version of.
        parents: `{dataset, label, record, tree}` of each parent.
        base: tree the draft started from: its parent's, or its parents' merged.
        tree: tree it has now.
        status: "open", "sealed" or "uploaded".
        created: when it was made.
        conflicts: paths that its parents disagreed about.
        sealed: what `finalize` fixed: everything of the record but its label.
        label: the label the user chose, if any.
        bump: which part of the automatic label grows.
        attempted: the label last tried, should the reply have been lost.
        published: the label it got.
        spool: bytes of packs that may wait to be sent while more is added; 0 if all wait for `upload`.
        mirrors: what a one-step `sync` makes it mirror; None for other drafts.
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


def draft_folder(workspace: Path, draft_id: str) -> Path:
    """Return the folder of a draft."""
    return workspace / FOLDER / "drafts" / draft_id


def make_draft_folder(workspace: Path, folder: Path) -> None:
    """Make the folder of a draft, and keep what is in `.dataver` out of git.

    Raises:
        InvalidInput: it cannot be made there.
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
    """Say in our words what the disk refuses; the draft stays as the last finished command left it."""
    try:
        yield
    except DataverError:
        raise  # some of ours are OSErrors, too
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"the draft in {folder} cannot be written: {error.strerror or error}{where}.",
            hint="make room or fix permissions there and repeat the command; nothing is lost",
        ) from error


def sealed_alike(state: DraftState, sealed: dict[str, Any], label: str | None, bump: str) -> bool:
    """Tell whether a draft would be sealed as it was before it was reopened."""
    before = state.sealed or {}
    words = ("message", "metadata")
    return (before.get("tree"), state.label, state.bump) == (state.tree, label, bump) and all(
        before[word] == sealed[word] for word in words
    )


def save_state(folder: Path, state: DraftState) -> None:
    """Replace `draft.json` atomically and durably."""
    _replace(folder / _STATE, json.dumps(asdict(state), indent=1).encode())


def load_state(folder: Path) -> DraftState:
    """Read `draft.json`.

    Raises:
        NotFound: there is no such draft.
        StoreError: it may not be read.
        IntegrityError: the file is damaged.
    """
    try:
        values = json.loads((folder / _STATE).read_bytes())
        missing = set() if "spool" in values else _YOUNG
        names = [each.name for each in fields(DraftState) if each.name not in missing]
        return DraftState(**{name: values[name] for name in names})
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no draft {folder.name} here.", hint="`dataver drafts` lists them"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{folder / _STATE} cannot be read: {error.strerror or error}.",
            hint="look at the folder's owner and mode: whose draft is it?",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{folder / _STATE} is damaged: {error}.",
            hint="its packs are safe; `dataver discard` drops the draft",
        ) from error


def list_drafts(workspace: Path) -> list[DraftState]:
    """Return the drafts of a workspace that can be read, oldest first."""
    folder = workspace / FOLDER / "drafts"
    states = folder.glob(f"*/{_STATE}") if os.path.isdir(folder) else ()  # noqa: PTH112  # never raises
    found = [load_state(path.parent) for path in states]
    return sorted(found, key=lambda state: (state.created, state.id))


def set_current(workspace: Path, draft_id: str | None) -> None:
    """Make a draft the one that commands mean, or none."""
    path = workspace / FOLDER / "current"
    if draft_id is None:
        path.unlink(missing_ok=True)
    else:
        _replace(path, draft_id.encode())


def current_draft(start: Path | None = None) -> tuple[Path, str]:
    """Return the workspace and the id of the current draft.

    Raises:
        NotFound: there is none here.
    """
    workspace = find_workspace(start)
    try:
        if workspace is not None:
            name = (workspace / FOLDER / "current").read_text("ascii").strip()
            if len(name) == 12 and not set(name) - set("0123456789abcdef"):
                return workspace, name
            raise InvalidInput(
                f"{workspace / FOLDER / 'current'} names no draft.", hint="name one with --draft"
            )
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    raise NotFound(
        "there is no current draft in this folder.",
        hint="`dataver create NAME` starts one; `dataver drafts` lists those that are open",
    )


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".tmp-{os.urandom(6).hex()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
