"""A tombstone: the small, immutable JSON object that records that a version was deleted, with its record.

The idea: once it exists, the version is deleted and its label is never used again. So the names in tags, lock
files and lineage keep their meaning. It contains the unchanged record, which still has the record's id and so
authenticates itself. Canonical JSON (`canonical_json`); `docs/format.md` lists the keys. Keeps invariants 1
and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.canonical_json import Fields, decode_json, encode_json
from dataver.formats.header import check_name, encode_object, version_name
from dataver.formats.names import check_dataset_name
from dataver.formats.record import Record, parse_record, record_id
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Tombstone", "parse_tombstone"]

FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """One deleted version.

    Attributes:
        dataset: the dataset's name.
        label: the version's label.
        record: the id of its record, 64 hex.
        tree: the digest of its tree, 32 bytes.
        deleted: time of deletion by the deleting machine's clock, aware UTC.
        author: the name of the person who deleted it, as configured.
        reason: the reason given.
        write_id: 32 random hex digits, by which a writer recognises its own tombstone.
        was: the record; None if it was too long.
        renamed: the dataset that has the version now, if its dataset was renamed; else empty.
    """

    dataset: str
    label: str
    record: str
    tree: bytes
    deleted: datetime
    author: str
    reason: str
    write_id: str
    was: Record | None
    renamed: str = ""

    __repr__ = short_repr

    @property
    def ref(self) -> str:
        """The name it had: `dataset@label`."""
        return f"{self.dataset}@{self.label}"

    def encode(self) -> bytes:
        """Return the tombstone's bytes; a record that is too long is left out.

        Raises:
            InvalidInput: a value that a tombstone cannot hold.
        """
        try:
            return self._encode(self.was)
        except InvalidInput:
            if self.was is None:
                raise
            return self._encode(None)

    def _encode(self, was: Record | None) -> bytes:
        what = f"the tombstone of {self.dataset}@{self.label}"
        record = None if was is None else decode_json(was.encode(), what)
        return encode_object(self, FORMAT, what, _from_values, optional=("renamed",), was=record)


def parse_tombstone(data: bytes) -> Tombstone:
    """Return the tombstone in `data`.

    Raises:
        IntegrityError: not a tombstone, or its record is not the one it names.
        FormatTooNew: a tombstone of a newer version.
    """
    return _from_values(Fields(decode_json(data, "the tombstone"), "the tombstone"))


def _from_values(fields: Fields) -> Tombstone:
    fields.expect_format(FORMAT)
    dataset, label = version_name(fields)
    renamed = fields.text("renamed") if fields.has("renamed") else ""
    if renamed:
        check_name(fields, check_dataset_name, renamed)
    record, tree = fields.hex("record", 64), bytes.fromhex(fields.hex("tree", 64))
    return Tombstone(
        dataset=dataset,
        label=label,
        record=record,
        tree=tree,
        deleted=fields.time("deleted"),
        author=fields.text("author"),
        reason=fields.text("reason"),
        write_id=fields.hex("write_id", 32),
        was=_record(fields, dataset, label, record, tree),
        renamed=renamed,
    )


def _record(fields: Fields, dataset: str, label: str, record: str, tree: bytes) -> Record | None:
    if fields.is_null("was"):
        return None
    data = encode_json(fields.value("was", dict), fields.what)
    was = parse_record(data)
    if (record_id(data).hex(), was.dataset, was.label, was.tree) != (record, dataset, label, tree):
        raise IntegrityError(f"{fields.what} holds another record than it names")
    return was
