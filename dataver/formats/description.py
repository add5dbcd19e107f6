"""A description of a version, or of a dataset as a whole: one numbered, immutable JSON object.

The idea: records never change, so what is said about a version later lies beside its record, as a sequence of
complete descriptions. The highest number is current, the rest is the history (invariant 2). Canonical JSON
(`canonical_json`); `docs/format.md` lists the keys. Keeps invariants 1 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dataver.formats.canonical_json import Fields, decode_json
from dataver.formats.header import encode_object, numbered_header
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Description", "parse_description"]

FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Text, license, owner, readme and metadata of a version or of a dataset, complete.

    Attributes:
        number: 1 for the first description, then without gaps.
        dataset: the dataset's name.
        label: the version's label; None if the description is of the dataset as a whole.
        record: the id of the version's record, 64 hex; None for a dataset.
        text: what it is, in a few sentences.
        license: an SPDX expression, such as "CC-BY-4.0"; empty if none is stated.
        owner: the responsible person or team.
        readme: Markdown; None means the `README.md` in the version.
        metadata: JSON values.
        created: time of the description, aware UTC.
        author: the name of its author, as configured.
        write_id: 32 random hex digits, by which a writer recognises its own description.
    """

    number: int
    dataset: str
    label: str | None
    record: str | None
    text: str = ""
    license: str = ""
    owner: str = ""
    readme: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created: datetime
    author: str
    write_id: str

    __repr__ = short_repr

    @property
    def ref(self) -> str:
        """What is described: `dataset@label`, or the dataset's name."""
        return self.dataset if self.label is None else f"{self.dataset}@{self.label}"

    def encode(self) -> bytes:
        """Return the description's bytes.

        Raises:
            InvalidInput: a value that a description cannot hold, or more than 1 MiB.
        """
        return encode_object(self, FORMAT, f"description {self.number} of {self.ref}", _from_values)


def parse_description(data: bytes) -> Description:
    """Return the description in `data`.

    Raises:
        IntegrityError: not a description.
        FormatTooNew: a description written by a newer version.
    """
    return _from_values(Fields(decode_json(data, "the description"), "the description"))


def _from_values(fields: Fields) -> Description:
    return Description(
        **numbered_header(fields, FORMAT),
        text=fields.text("text"),
        license=fields.text("license"),
        owner=fields.text("owner"),
        readme=fields.optional_text("readme"),
        metadata=fields.value("metadata", dict),
    )
