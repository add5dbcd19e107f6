"""Cheap profiles of a draft: made when it is sealed, from its spool, and stored when it is published.

The idea: profiles are never needed, so this neither fails nor delays. It reads some files of each kind, from
all over the draft, for as long as a small share of the time that adding them took.
"""

from __future__ import annotations

import json
import random
import time
import warnings
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from dataver.formats.entry import Kind
from dataver.ingest.dedup import spooled
from dataver.log import info as log_info
from dataver.profiles.kinds import SAMPLE, Source, encode, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from dataver.formats.entry import Entry
    from dataver.ingest import DraftCore
    from dataver.repository import Published

__all__ = ["profile_draft", "send_profiles"]

_LOOKED: Final = 512  # changes that are looked at; of more, files in eight places
_PLACES: Final = 8
_FEW: Final = 8  # files that are profiled in any time, so that a small draft has all profiles
_LEAST: Final = 0.02  # seconds of CPU time, and the share of the time that `add` takes at least:
_SHARE: Final = 0.01
_SECOND_FILES: Final = 30e-6  # seconds a file
_SECOND_BYTES: Final = 1e-9  # seconds a byte


def profile_draft(draft: DraftCore, opening: Callable[[str], BinaryIO]) -> None:
    """Make cheap profiles of some new files of a sealed draft; never fail, and take little time.

    Only files in the draft's spool are read. `send_profiles` publishes the profiles.

    Args:
        draft: the draft.
        opening: opens one of its files.
    """
    began = time.thread_time()
    lines: dict[str, dict[str, str]] = {"tables": {}, "files": {}}
    try:
        packs = {bytes.fromhex(path.name): path.stat().st_size for path in spooled(draft.spool)}
        added = _SECOND_FILES * draft.tree.summary().files + _SECOND_BYTES * sum(packs.values())
        sources = _sample(_new_entries(draft) if packs else [], packs)
        with warnings.catch_warnings(action="ignore"):  # of libraries, about broken files
            for number, source in enumerate(sources):
                if number >= _FEW and time.thread_time() - began > _LEAST + _SHARE * added:
                    break
                source.open = partial(opening, source.name)
                if (made := encode(source, full=False)) is not None:
                    lines[source.kind.group][source.digest.hex()] = made[0].decode()
        if sources:
            text = json.dumps({"tree": draft.state.tree, "lines": lines})
            draft.profiles.write_text(text, "utf-8")
    except Exception as error:  # noqa: BLE001  # the version is complete without them
        log_info("no profiles were made: %s", error)


def _new_entries(draft: DraftCore) -> list[Entry]:
    """Return the changed entries of a draft; of many, entries from all over its tree."""
    found = [each.new for each in islice(draft.changes(), _LOOKED) if each.new is not None]
    if len(found) < _LOOKED:
        return found
    tree, count = draft.tree, draft.tree.summary().entries
    each = min(count, _LOOKED) // _PLACES
    places = (
        tree.at(start + number)
        for start in range(0, count - each, count // _PLACES)
        for number in range(each)
    )
    return [leaf.entry(number) for leaf, number in places]


def _sample(entries: Iterable[Entry], packs: Container[bytes]) -> list[Source]:
    """Return up to `SAMPLE` files of each available kind whose bytes are in these packs, in random order.

    Tables come first: `search` finds their columns, and the time may not suffice for all.
    """
    by_kind: dict[str, list[Source]] = {}
    for entry in entries:
        kind = kind_of(entry.path) if entry.kind in (Kind.FILE, Kind.EXECUTABLE) else None
        if kind is not None and all(extent.pack in packs for extent in entry.extents):
            by_kind.setdefault(kind.name, []).append(Source(entry.path, entry.size, entry.digest, kind))
    chance = random.Random(0)  # noqa: S311  # the same files for the same draft
    chosen = [
        source
        for some in by_kind.values()
        if some[0].kind.available
        for source in chance.sample(some, min(len(some), SAMPLE))
    ]
    chance.shuffle(chosen)
    return sorted(chosen, key=lambda source: source.kind.name != "table")


def send_profiles(draft: DraftCore, published: Published) -> None:
    """Store the profiles that were made of a draft, once it is published; never fail.

    A draft whose changes were applied to another version has none: it may lack some of the files.
    """
    path = draft.profiles
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["tree"] == published.record.tree.hex():
            for group, some in found["lines"].items():
                lines = {bytes.fromhex(name): line.encode() for name, line in some.items()}
                draft.repository.profiles.add(draft.dataset, group, [published.record.tree], lines)
        path.unlink()
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001  # the version is complete without them
        log_info("the profiles of %s were not stored: %s", published.ref, error)
