"""States of a source without a change of the data: they belong to the version before."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dataver.importers.source import SourceVersion

__all__ = ["join_unchanged"]


def join_unchanged(
    states: Iterable[tuple[bytes | None, SourceVersion]], empty: bytes
) -> Iterator[SourceVersion]:
    """Yield the states whose data differ from those of their first parent.

    A state with the data of its parent, and one whose data are unknown, gives its tags, label and runs to the
    parent, and its children, too. A tag of several states belongs to the last.

    Args:
        states: a mark that is equal for equal data (None: unknown), and the state, parents first.
        empty: the mark of no data, which make no version without a parent.
    """
    key_of: dict[str, str | None] = {}  # of a state, the version with its data
    marks: dict[str | None, bytes | None] = {None: empty}
    kept: dict[str, SourceVersion] = {}
    tags: dict[tuple[str, str], str] = {}
    for mark, state in states:
        parent = next((key_of[each] for each in state.parents if each in key_of), None)
        if mark not in (None, marks[parent]):
            marks[state.key] = mark
            kept[state.key] = replace(state, parents=(parent,) if parent else ())
            parent = state.key
        elif parent is not None:
            old = kept[parent]
            kept[parent] = replace(
                old,
                label=old.label or state.label,
                produced_by=old.produced_by + state.produced_by,
                used_by=old.used_by + state.used_by,
            )
        key_of[state.key] = parent
        if parent is not None:
            tags |= {(state.dataset, tag): parent for tag in state.tags}
    for key, version in kept.items():
        yield replace(version, tags=tuple(tag for (_, tag), at in tags.items() if at == key))
