"""The states of a source as versions: those without a change of the data belong to the version before."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from dataver.importers.source import SourceVersion

__all__ = ["in_line", "join_unchanged"]


def in_line(states: Iterable[SourceVersion]) -> Iterator[SourceVersion]:
    """Make each state the child of the one before of its dataset."""
    last: dict[str, str] = {}
    for state in states:
        yield replace(state, parents=(last[state.dataset],) if state.dataset in last else ())
        last[state.dataset] = state.key


def join_unchanged(states: Iterable[SourceVersion], empty: Hashable) -> Iterator[SourceVersion]:
    """Yield the states whose data differ from those of their first parent, or that merge different data.

    Any other state, and one whose data are unknown, gives its tags, label and runs to the version of its
    first parent, and its children, too. A tag of several states belongs to the last.

    Args:
        states: the states, each with its `data`, parents first.
        empty: the `data` of no data, which make no version without a parent.
    """
    number_of: dict[str, int | None] = {}  # of a state, the version with its data
    found, lines = list[SourceVersion](), list[int]()
    tags: dict[tuple[str, str], int] = {}
    for state in states:
        above = [number_of.get(key) for key in state.parents]
        parents = _heads([each for each in above if each is not None], lines)
        number = parents[0] if parents else None
        before = empty if number is None else found[number].data
        if state.data is not None and (len(parents) > 1 or state.data != before):
            number = len(found)
            found.append(replace(state, parents=tuple(found[each].key for each in parents)))
            lines.append(reduce(or_, (lines[each] for each in parents), 1 << number))
        elif number is not None:
            old = found[number]
            found[number] = replace(
                old,
                label=old.label or state.label,
                produced_by=old.produced_by + state.produced_by,
                used_by=old.used_by + state.used_by,
            )
        number_of[state.key] = number
        if number is not None:
            tags |= {(state.dataset, tag): number for tag in state.tags}
    tags_of: dict[int, list[str]] = defaultdict(list)
    for (_, tag), number in tags.items():
        tags_of[number].append(tag)
    for number, version in enumerate(found):
        yield replace(version, tags=tuple(tags_of[number]))


def _heads(numbers: Iterable[int], lines: Sequence[int]) -> list[int]:
    """Return those versions that no other one contains; `lines` has a bit for each version on a line."""
    numbers = list(dict.fromkeys(numbers))
    return [one for one in numbers if not any(lines[each] >> one & 1 for each in numbers if each != one)]
