"""Resolution of texts to runs and versions of the index.

A run is found by its key (`mlflow:4f1c…`), by the key of any of its contexts, by the id alone, and by any
unambiguous prefix of these. A prefix is looked up in a range of an index, independent of the history's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import InvalidInput, NotFound
from dataver.formats.canonical_json import is_hex
from dataver.formats.names import parse_semver
from dataver.repository.resolve import LATEST, split_ref

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FoundRun", "find_run", "find_version"]

_SHOWN = 5
_LAST = "\U0010ffff"


class FoundRun(NamedTuple):
    """A run's number, and the key of its context if the text matched that."""

    number: int
    context: str | None


def find_run(db: sqlite3.Connection, text: str) -> FoundRun:
    """Return the run that `text` refers to.

    Raises:
        NotFound: no run matches.
        InvalidInput: several runs match; the message lists some.
    """
    text = text.strip()
    exact = db.execute("SELECT id FROM runs WHERE key = ?", [text]).fetchone()
    if exact:
        return FoundRun(exact[0], None)
    starts = [text] if ":" in text else [f"{system}:{text}" for system in _systems(db)]
    for complete in (True, False):
        found = {match for start in starts for match in _matches(db, start, complete=complete)}
        if len({number for number, _ in found}) == 1:
            return min(found, key=lambda each: (each.context is not None, each.context or ""))
        if found:
            raise _ambiguous(db, text, found)
    raise NotFound(
        f"there is no run '{text}' in the lineage.",
        hint="list runs with `dataver runs`; fetch those of other machines with `dataver lineage sync`",
    )


def find_version(db: sqlite3.Connection, ref: str) -> int:
    """Return the number of the version of a ref: `name`, `name@label`, `name@tag`, `dv1:<prefix>`.

    Deleted versions are found by `name@label` and, if no other version has the content, by their digest.

    Raises:
        NotFound: no such version.
        InvalidInput: not a ref, or an ambiguous digest.
    """
    if ref.startswith("dv1:"):
        return _by_digest(db, ref)
    name, selector = split_ref(ref)
    if selector is None or selector == LATEST:
        rows = db.execute(
            "SELECT label, id, created FROM versions WHERE dataset = ? AND deleted IS NULL", [name]
        ).fetchall()
        if rows:
            numbered = [
                (key, number) for label, number, _ in rows if (key := parse_semver(label)) is not None
            ]
            return int(max(numbered)[1] if numbered else max((row[2], row[1]) for row in rows)[1])
    else:
        for question in (
            "SELECT id FROM versions WHERE dataset = ? AND label = ?",
            "SELECT version FROM tags WHERE dataset = ? AND tag = ?",
            """SELECT version FROM links WHERE version IS NOT NULL AND dataset = ? AND label = ?
            ORDER BY time DESC""",
        ):
            row = db.execute(question, [name, selector]).fetchone()
            if row:
                return int(row[0])
    raise NotFound(f"there is no version '{ref}' in the lineage.", hint=_near(db, name))


def _near(db: sqlite3.Connection, name: str) -> str:
    rows = db.execute(
        "SELECT label, deleted IS NOT NULL FROM versions WHERE dataset = ? ORDER BY created DESC, id", [name]
    ).fetchall()
    if not rows:
        return "list the datasets with `dataver list`; fetch the newest with `dataver lineage sync`"
    if all(deleted for _, deleted in rows):
        return f"all versions of {name} were deleted: {_some([f'{name}@{label}' for label, _ in rows])}"
    return f"list the versions with `dataver list {name}`; fetch the newest with `dataver lineage sync`"


def _by_digest(db: sqlite3.Connection, ref: str) -> int:
    prefix = ref.removeprefix("dv1:").lower()
    if not 4 <= len(prefix) <= 64 or not is_hex(prefix, len(prefix)):
        raise InvalidInput(f"'{ref}' is not a digest: dv1: and 4 to 64 hexadecimal characters.")
    rows = db.execute(
        "SELECT tree, id, created, deleted FROM versions WHERE tree >= ? AND tree < ?",
        [prefix, prefix + "g"],
    ).fetchall()
    if len({row[0] for row in rows}) > 1:
        raise InvalidInput(f"{ref} matches several contents.", hint="write more of the digest")
    if not rows:
        raise NotFound(f"no version has a digest that starts with {ref}.", hint="see `dataver list NAME`")
    return int(max(rows, key=lambda row: (row[3] is None, row[2] or "", row[1]))[1])


def _systems(db: sqlite3.Connection) -> list[str]:
    """Return all systems, by skipping through the indexes."""
    found: set[str] = set()
    for table in ("runs", "contexts"):
        after = ""
        while row := db.execute(f"SELECT min(key) FROM {table} WHERE key > ?", [after]).fetchone():  # noqa: S608
            if row[0] is None:
                break
            system = row[0].partition(":")[0]
            found.add(system)
            after = system + ";"  # the character after ':'
    return sorted(found)


def _matches(db: sqlite3.Connection, start: str, *, complete: bool) -> set[FoundRun]:
    """Return the runs whose key equals `start`, or begins with it."""
    condition, values = ("key = ?", [start]) if complete else ("key >= ? AND key < ?", [start, start + _LAST])
    most = f"LIMIT {_SHOWN * 20}"
    runs = db.execute(f"SELECT id FROM runs WHERE {condition} {most}", values)  # noqa: S608
    found = {FoundRun(number, None) for (number,) in runs}
    whole = {each.number for each in found}
    contexts = db.execute(f"SELECT run, key FROM contexts WHERE {condition} {most}", values)  # noqa: S608
    return found | {FoundRun(number, key) for number, key in contexts if number not in whole}


def _ambiguous(db: sqlite3.Connection, text: str, found: set[FoundRun]) -> InvalidInput:
    numbers = sorted({each.number for each in found})
    keys = [db.execute("SELECT key FROM runs WHERE id = ?", [number]).fetchone()[0] for number in numbers]
    return InvalidInput(
        f"'{text}' matches several runs: {_some(sorted(keys))}.",
        hint="write more of the id; list runs with `dataver runs`",
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
