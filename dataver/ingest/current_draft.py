"""The current draft, which commands use by default: each folder of a workspace has its own.

    .dataver/current              the draft begun in the workspace's top folder: its id
    .dataver/currents/<16 hex>    the draft begun in a folder below: its id, a space, the folder

The idea: two terminals in two folders of one project work on two drafts. A command uses the draft of its
folder, else that of the nearest folder above. If there is neither, it uses the draft of a folder below,
provided that there is exactly one. It never uses the draft of a sibling folder.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dataver.errors import DataverError, InvalidInput, NotFound
from dataver.hashing import digest
from dataver.ingest.draft_state import draft_folder, load_state
from dataver.machine.paths import FOLDER, find_workspace
from dataver.storage.durable import replace_file

__all__ = ["current_draft", "drop_draft", "set_current"]

_DIGITS = frozenset("0123456789abcdef")


def set_current(workspace: Path, draft_id: str, folder: Path | None = None) -> None:
    """Make a draft current in a folder of the workspace; None or a folder outside means its top folder."""
    path = workspace / FOLDER / "current"
    if folder is None or folder == workspace or not folder.is_relative_to(workspace):
        replace_file(path, draft_id, durable=True)
        return
    name = folder.relative_to(workspace).as_posix()
    path = path.with_name("currents") / digest(name.encode("utf-8", "surrogateescape"))[:8].hex()
    path.parent.mkdir(exist_ok=True)
    replace_file(path, f"{draft_id} {name}".encode("utf-8", "surrogateescape"), durable=True)


def drop_draft(workspace: Path, draft_id: str) -> None:
    """Remove a draft, also a damaged one; `draft.json` first, so that a crash leaves no partial draft."""
    folder = draft_folder(workspace, draft_id)
    (folder / "draft.json").unlink(missing_ok=True)
    for path, name, _ in _noted(workspace):
        if name == draft_id:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def current_draft(start: Path | None = None) -> tuple[Path, str]:
    """Return the workspace and the id of the current draft of `start` (default: the current folder).

    Raises:
        NotFound: there is none.
        InvalidInput: several drafts match.
    """
    here = (start or Path.cwd()).absolute()
    workspace = find_workspace(start)
    if workspace is None:
        raise _none(None)
    noted = {workspace / folder: name for _, name, folder in _noted(workspace)}
    for folder in (here, *here.parents):
        if folder in noted:
            return workspace, noted[folder]
        if folder == workspace:
            break
    below = {folder: name for folder, name in noted.items() if folder.is_relative_to(here)}
    if len(set(below.values())) == 1:
        return workspace, next(iter(below.values()))
    if below:
        named = " or ".join(_about(workspace, name, folder) for folder, name in sorted(below.items()))
        raise InvalidInput(
            f"several drafts match here: {named}.", hint="name one with --draft, or go to its folder"
        )
    beside = [_about(workspace, name, folder) for folder, name in sorted(noted.items())]
    raise _none(beside[0] if beside else None)


def _noted(workspace: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the file that records a current draft, its id, and its folder; skip deleted drafts."""
    top = workspace / FOLDER
    paths = [top / "current"]
    with suppress(OSError):
        paths += sorted((top / "currents").iterdir())
    for path in paths:
        try:
            name, _, folder = path.read_text("utf-8", "surrogateescape").partition(" ")
        except OSError:
            continue
        name = name.strip()
        if len(name) == 12 and _DIGITS.issuperset(name) and draft_folder(workspace, name).is_dir():
            yield path, name, folder


def _about(workspace: Path, draft_id: str, folder: Path) -> str:
    where = folder.relative_to(workspace).as_posix()
    try:
        dataset = load_state(draft_folder(workspace, draft_id)).dataset
    except DataverError:
        return f"{draft_id} (damaged, of the folder {where})"
    return f"{draft_id} (of {dataset}, begun in the folder {where})"


def _none(beside: str | None) -> NotFound:
    if beside is None:
        hint = "`dataver create NAME` starts one; `dataver drafts` lists those that are open"
    else:
        hint = f"`dataver create NAME` starts one; --draft names another, such as {beside}"
    return NotFound("there is no current draft in this folder.", hint=hint)
