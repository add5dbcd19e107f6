"""Restoring: the content of an older version becomes the latest version. No data is transferred.

A crash leaves nothing or a published version, and a repeated call recognises that by its content. The tree is
kept by the record of the older version, which is read again after this writer holds the tree: if it was not
deleted by then, every later sweep detects the hold (`dataver.repository.holds`).
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from dataver._about import __version__
from dataver.errors import DataverError
from dataver.formats.names import check_label
from dataver.formats.record import ParentRef, Record
from dataver.maintenance.delete import write_tombstone
from dataver.repository import Published, RepositoryCore
from dataver.repository.holds import writer_hold
from dataver.repository.layout import block_key
from dataver.repository.lines import Behind, busy, find_position, latest
from dataver.repository.publish import publish

__all__ = ["restore"]

_ROUNDS: Final = 200  # versions of other writers in between before this gives up


def restore(
    core: RepositoryCore,
    source: Published,
    *,
    author: str,
    message: str = "",
    label: str | None = None,
    bump: str = "patch",
    metadata: Mapping[str, Any] | None = None,
) -> tuple[Published, bool]:
    """Publish the content of a version as the latest one; see `dataver.Repository.restore`.

    Returns:
        The latest version, and whether this call published it.
    """
    if label is not None:
        check_label(label)
        core.tags.refuse_label(source.record.dataset, label)
    text = f"{message} (restores {source.ref})" if message else f"Restore {source.ref}"
    values = dict(source.record.metadata if metadata is None else metadata)
    with writer_hold(core.store, source.record.tree) as hold:
        hold.establish(lambda _sweeps: {block_key(source.record.tree)})
        for _ in range(_ROUNDS):
            _require(core, source)
            last = _latest(core, source)
            if last.record.tree == source.record.tree:
                return last, False
            record = _record(source, last, author, text, values)
            with suppress(Behind):  # another version was published since `last` was read
                position = find_position(core.records, record, label=label, bump=bump)
                published = publish(core.store, core.records, record, position)
                if published is not None:
                    break
        else:
            raise busy(source.record.dataset)
        if not hold.trusted:  # this process was stopped for hours: a sweep may have ignored its hold
            try:
                _require(core, source)
            except DataverError:
                write_tombstone(core, published, author=author, reason="it could not be kept whole")
                raise
    return published, True


def _latest(core: RepositoryCore, source: Published) -> Published:
    dataset = source.record.dataset
    labels = core.records.listed(dataset)
    return latest(core.records, dataset, labels) if labels else source


def _require(core: RepositoryCore, source: Published) -> None:
    """Raise an error if a version was deleted.

    Raises:
        NotFound: it was.
    """
    found = core.records.read_back(source.record.dataset, source.record.label)
    if found is None or found.record_id != source.record_id:
        core.resolve(source.ref)  # raises an error with author and time of the deletion


def _record(
    source: Published, last: Published, author: str, message: str, metadata: dict[str, Any]
) -> Record:
    was, before = source.record, last.record
    return Record(
        dataset=was.dataset,
        label="0.0.0",
        tree=was.tree,
        parents=(ParentRef(before.dataset, before.label, last.record_id, before.tree.hex()),),
        created=datetime.now(UTC),
        author=author,
        message=message,
        files=was.files,
        size=was.size,
        entries=was.entries,
        metadata=metadata,
        tool=f"dataver {__version__}",
        write_id=os.urandom(16).hex(),
    )
