"""Markers by which writers and sweeps detect each other: holds, sweeps, turns, and lists of retired packs.

        hold       a tree that is about to be published, or (without a tree) bytes that are being moved
        sweep      the keys that a sweep may delete, announced before its last check of which ones are needed
        retired    packs whose bytes were moved to others; readers of old layouts may still request them
        turn       the right to publish the next version of a dataset

Canonical JSON (`canonical_json`). `docs/format.md` lists the keys;
`docs/decisions/0010-freeing-beside-uploads.md` explains why these markers suffice. Keeps invariants 1 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import IntegrityError
from dataver.formats.canonical_json import Fields, decode_json, encode_checked, is_hex

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_KEYS",
    "Hold",
    "Retired",
    "Sweep",
    "Turn",
    "parse_hold",
    "parse_retired",
    "parse_sweep",
    "parse_turn",
]

FORMAT: Final = 1
MAX_KEYS: Final = 8_000  # of one marker: below 1 MiB of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Marker that prevents sweeps from deleting a tree and the objects it needs.

    Attributes:
        tree: the digest of its root block; None prevents all deletion.
        owner: the identity of the process that wrote it, as JSON values.
    """

    tree: bytes | None
    owner: dict[str, Any]

    def encode(self) -> bytes:
        """Return the marker's bytes."""
        tree = None if self.tree is None else self.tree.hex()
        return encode_checked({"format": FORMAT, "owner": self.owner, "tree": tree}, "a hold", _hold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Marker with the keys that a sweep may delete.

    Attributes:
        keys: at most 8,000 keys of packs and blocks.
        owner: the identity of the process that sweeps, as JSON values.
    """

    keys: tuple[str, ...]
    owner: dict[str, Any]

    def encode(self) -> bytes:
        """Return the marker's bytes."""
        return encode_checked(
            {"format": FORMAT, "keys": list(self.keys), "owner": self.owner}, "a sweep", _sweep
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """Packs whose bytes were moved to others: at most 8,000 pack ids."""

    packs: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the marker's bytes."""
        values = {"format": FORMAT, "packs": [pack.hex() for pack in self.packs]}
        return encode_checked(values, "a list of retired packs", _retired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The right to publish the one version that follows a given state of a dataset.

    Attributes:
        owner: the identity of the process that took it, as JSON values.
        record: the write id of the record that is about to be created.
        write_id: 32 random hex digits.
    """

    owner: dict[str, Any]
    record: str
    write_id: str

    def encode(self) -> bytes:
        """Return the marker's bytes."""
        values = {"format": FORMAT, "owner": self.owner, "record": self.record, "write_id": self.write_id}
        return encode_checked(values, "a turn", _turn)


def parse_hold(data: bytes) -> Hold:
    """Return the hold in `data`.

    Raises:
        IntegrityError: not a hold.
        FormatTooNew: one of a newer version.
    """
    return _hold(Fields(decode_json(data, "a hold"), "a hold"))


def parse_sweep(data: bytes) -> Sweep:
    """Return the sweep in `data`; raises as `parse_hold` does."""
    return _sweep(Fields(decode_json(data, "a sweep"), "a sweep"))


def parse_retired(data: bytes) -> Retired:
    """Return the list in `data`; raises as `parse_hold` does."""
    what = "a list of retired packs"
    return _retired(Fields(decode_json(data, what), what))


def parse_turn(data: bytes) -> Turn:
    """Return the turn in `data`; raises as `parse_hold` does."""
    return _turn(Fields(decode_json(data, "a turn"), "a turn"))


def _hold(fields: Fields) -> Hold:
    fields.expect_format(FORMAT)
    tree = None if fields.is_null("tree") else bytes.fromhex(fields.hex("tree", 64))
    return Hold(tree=tree, owner=fields.value("owner", dict))


def _sweep(fields: Fields) -> Sweep:
    fields.expect_format(FORMAT)
    keys = _texts(fields, "keys", lambda text: len(text) <= 200)
    return Sweep(keys=tuple(keys), owner=fields.value("owner", dict))


def _retired(fields: Fields) -> Retired:
    fields.expect_format(FORMAT)
    packs = _texts(fields, "packs", lambda text: is_hex(text, 64))
    return Retired(packs=tuple(bytes.fromhex(pack) for pack in packs))


def _turn(fields: Fields) -> Turn:
    fields.expect_format(FORMAT)
    return Turn(
        owner=fields.value("owner", dict),
        record=fields.hex("record", 32),
        write_id=fields.hex("write_id", 32),
    )


def _texts(fields: Fields, name: str, fits: Callable[[str], bool]) -> list[str]:
    found: list[Any] = fields.value(name, list)
    if len(found) > MAX_KEYS or not all(type(each) is str and fits(each) for each in found):
        raise IntegrityError(f"{fields.what}: {name!r} is not a list of up to {MAX_KEYS} of them")
    return found
