"""A move of a tag: one numbered, immutable JSON object with the version that the tag then points to.

The idea: a tag is never overwritten. Its moves are a sequence: the highest number is current, the rest is its
history (invariant 2). Canonical JSON (`canonical_json`); `docs/format.md` lists the keys. Keeps invariants 1
and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataver.formats.canonical_json import Fields, decode_json
from dataver.formats.header import check_name, encode_object, numbered_header
from dataver.formats.names import check_tag
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["TagMove", "parse_tag_move"]

FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMove:
    """One move of a tag.

    Attributes:
        number: 1 for the first move, then without gaps.
        tag: the tag's name.
        dataset: the dataset's name.
        record: the id of the record it points to, 64 hex; None if the tag is removed.
        label: the label of that version; None if the tag is removed.
        created: time of the move, aware UTC.
        author: the name of its author, as configured.
        write_id: 32 random hex digits, by which a writer recognises its own move.
        protected: whether the next move needs `force` and a reason.
        reason: the reason of the move; empty if none was given.
    """

    number: int
    tag: str
    dataset: str
    record: str | None
    label: str | None
    created: datetime
    author: str
    write_id: str
    protected: bool = False
    reason: str = ""

    __repr__ = short_repr

    def encode(self) -> bytes:
        """Return the move's bytes.

        Raises:
            InvalidInput: a value that a move cannot hold.
        """
        what = f"move {self.number} of the tag {self.dataset}@{self.tag}"
        return encode_object(self, FORMAT, what, _from_values, optional=("protected", "reason"))


def parse_tag_move(data: bytes) -> TagMove:
    """Return the move in `data`.

    Raises:
        IntegrityError: not a move of a tag.
        FormatTooNew: a move written by a newer version.
    """
    return _from_values(Fields(decode_json(data, "the tag's move"), "the tag's move"))


def _from_values(fields: Fields) -> TagMove:
    return TagMove(
        **numbered_header(fields, FORMAT),
        tag=check_name(fields, check_tag, fields.text("tag")),
        protected=fields.has("protected") and fields.value("protected", bool),
        reason=fields.text("reason") if fields.has("reason") else "",
    )
