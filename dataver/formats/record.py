"""A record: the small JSON object that publishes a version and names its tree and its parents.

The idea: the record's id covers its bytes, and its bytes contain its parents' ids, so a record authenticates
its whole history. Canonical JSON (`canonical_json`), at most 1 MiB; `docs/format.md` lists the keys.

Keeps invariants 1 (a record that does not parse strictly is never used) and 7. It does not define where
records are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dataver.formats.canonical_json import Fields, decode_json
from dataver.formats.header import check_name, encode_object, version_name
from dataver.formats.names import check_label
from dataver.hashing.digest import CONTEXT_RECORD, derived

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ParentRef", "Record", "parse_record", "record_id"]

FORMAT: Final = 2
MAX_PARENTS: Final = 64


@dataclass(frozen=True, slots=True)
class ParentRef:
    """A parent of a version.

    Attributes:
        dataset: its dataset.
        label: its label.
        record: the id of its record, 64 hex.
        tree: the digest of its tree, 64 hex.
    """

    dataset: str
    label: str
    record: str
    tree: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One published version.

    Attributes:
        dataset: the dataset's name.
        label: the version's label.
        tree: the digest of the tree's root block, 32 bytes.
        parents: its parents, in the order given; later ones take precedence.
        created: time of finalizing, aware UTC.
        author: the author's name, as configured.
        message: the author's description.
        files: number of files; symlinks and empty folders are entries but not files.
        size: total size of all files.
        entries: number of entries: files, symlinks and empty folders.
        metadata: any JSON values of the user.
        tool: name and version of the program that wrote it.
        write_id: 32 random hex digits, by which a writer recognises its own record.
        line: the label of the first version of its fork; empty for versions that `latest` may refer to.
    """

    dataset: str
    label: str
    tree: bytes
    parents: tuple[ParentRef, ...]
    created: datetime
    author: str
    message: str
    files: int
    size: int
    entries: int
    tool: str
    write_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    line: str = ""

    def encode(self) -> bytes:
        """Return the record's bytes.

        Raises:
            InvalidInput: a value that a record cannot hold.
        """
        what = f"the record of {self.dataset}@{self.label}"
        parents = [
            {"dataset": each.dataset, "label": each.label, "record": each.record, "tree": each.tree}
            for each in self.parents
        ]
        return encode_object(self, FORMAT, what, _from_values, optional=("line",), parents=parents)


def parse_record(data: bytes) -> Record:
    """Return the record in `data`.

    Raises:
        IntegrityError: not a record.
        FormatTooNew: a record of a newer version.
    """
    return _from_values(Fields(decode_json(data, "the record"), "the record"))


def record_id(data: bytes) -> bytes:
    """Return the 32-byte id of a record: a hash of its bytes."""
    return derived(CONTEXT_RECORD, data)


def _from_values(fields: Fields) -> Record:
    fields.expect_format(FORMAT)
    dataset, label = version_name(fields)
    return Record(
        dataset=dataset,
        label=label,
        tree=bytes.fromhex(fields.hex("tree", 64)),
        parents=tuple(_parent(each) for each in fields.tables("parents", most=MAX_PARENTS)),
        created=fields.time("created"),
        author=fields.text("author"),
        message=fields.text("message"),
        files=fields.number("files"),
        size=fields.number("size"),
        entries=fields.number("entries"),
        metadata=fields.value("metadata", dict),
        tool=fields.text("tool"),
        write_id=fields.hex("write_id", 32),
        line=check_name(fields, check_label, fields.text("line")) if fields.has("line") else "",
    )


def _parent(fields: Fields) -> ParentRef:
    dataset, label = version_name(fields)
    return ParentRef(dataset, label, fields.hex("record", 64), fields.hex("tree", 64))
