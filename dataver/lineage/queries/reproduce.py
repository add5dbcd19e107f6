"""Data that a run read: as entries, and as exact versions and selections to fetch again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import IntegrityError, NotFound
from dataver.tree.selection import WHOLE, Selection, literal
from dataver.tree.shard import Shard, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dataver.formats.block import Leaf
    from dataver.formats.event import Subset
    from dataver.lineage.queries.results import IndexedLink, RunAnswer
    from dataver.repository import RepositoryCore
    from dataver.tree import Tree
__all__ = ["Reading", "parts_read", "readings_of", "selected"]


class Reading(NamedTuple):
    """A version that a run read, and the part of it.

    Attributes:
        ref: `dataset@label`.
        selection: the part.
    """

    ref: str
    selection: Selection


def readings_of(
    repository: RepositoryCore, answer: RunAnswer, listing: Callable[[str], Iterable[str]]
) -> list[Reading]:
    """Return what a run read, one `Reading` for each version, in chronological order.

    Args:
        repository: the repository of the versions.
        answer: the run and its links.
        listing: returns the paths of a listing attachment.

    Raises:
        NotFound: the run read nothing, or a version was deleted.
        IntegrityError: the label belongs to another record than the run read.
    """
    if not answer.inputs:
        raise NotFound(f"no data is recorded that {answer.run.key} read.")
    parts: dict[str, list[Selection]] = {}
    trees: dict[str, str] = {}
    for link in answer.inputs:
        _confirm(repository, link)
        parts.setdefault(link.ref, []).append(selected(link.subset, listing))
        trees[link.ref] = link.tree
    return [Reading(ref, _united(found, repository, trees[ref])) for ref, found in parts.items()]


def selected(subset: Subset, listing: Callable[[str], Iterable[str]]) -> Selection:
    """Return the selection that corresponds to a subset."""
    include = subset.patterns
    if subset.listed is not None or subset.paths:
        include = tuple(map(literal, subset.paths if subset.listed is None else listing(subset.listed)))
    shard = None if subset.shard is None else Shard.of(subset.shard)
    return Selection(include, subset.exclude, shard)


def _confirm(repository: RepositoryCore, link: IndexedLink) -> None:
    """Check that the label still belongs to the version of the link."""
    try:
        current = repository.records.get(link.dataset, link.label or "")
    except NotFound as error:
        raise NotFound(f"{link.ref}, which the run read, is not in {repository.url} any more.") from error
    if current.record_id != link.record:
        raise IntegrityError(f"{link.ref} in {repository.url} is not the version that the run read.")


def _united(parts: list[Selection], repository: RepositoryCore, tree: str) -> Selection:
    """Return the union of the parts that were read of a version."""
    shards: dict[tuple[Selection, int], set[int]] = {}
    for part in parts:
        if part.shard is not None:
            ranks = shards.setdefault((part._replace(shard=None), part.shard.world), set())
            ranks.update(part.shard.ranks)
    complete = [key for key, ranks in shards.items() if len(ranks) == key[1]]  # all shards were read
    whole = [part for part in parts if part.shard is None] + [key[0] for key in complete]
    for key in complete:
        del shards[key]
    if WHOLE in whole:
        return WHOLE
    left = [part._replace(shard=Shard.of((ranks, world))) for (part, world), ranks in shards.items()]
    if not whole and len(left) == 1:
        return left[0]
    if not left and len({part.exclude for part in whole}) == 1:
        include = [pattern for part in whole for pattern in part.include]
        every = any(not part.include for part in whole)
        return Selection(() if every else tuple(dict.fromkeys(include)), whole[0].exclude)
    found = [pattern for part in whole if not part.exclude for pattern in part.include]
    for part in (*left, *(part for part in whole if part.exclude)):
        found += map(literal, _paths(repository.tree(bytes.fromhex(tree)), part))
    return Selection(tuple(dict.fromkeys(found))) if found else parts[0]  # no pattern would select everything


def _paths(tree: Tree, part: Selection) -> list[str]:
    """Return the paths of a part of a tree."""
    parts = part.parts(tree) if part.shard is None else _sharded(part.parts(tree), part.shard)
    return [leaf.paths[number] for leaf, numbers in parts for number in numbers]


def parts_read(
    repository: RepositoryCore, link: IndexedLink, listing: Callable[[str], Iterable[str]]
) -> Iterable[tuple[Leaf, Sequence[int]]]:
    """Return the entries that a link read: leaves in path order, with the numbers of their entries.

    Raises:
        IntegrityError: the tree is missing or damaged.
        NotFound: the list of paths is missing.
    """
    tree, subset = repository.tree(bytes.fromhex(link.tree)), link.subset
    paths = subset.paths if subset.listed is None else listing(subset.listed)
    wanted = frozenset(paths)
    parts: Iterable[tuple[Leaf, Sequence[int]]]
    if wanted:
        parts = (
            (leaf, [number for number in range(start, stop) if leaf.paths[number] in wanted])
            for leaf, start, stop in tree.runs(
                Selection((literal(min(wanted)), literal(max(wanted)))).prefix()
            )
        )
    else:
        parts = Selection(subset.patterns, subset.exclude).parts(tree)
    if subset.shard is None:
        return parts
    return _sharded(parts, Shard.of(subset.shard))


def _sharded(parts: Iterable[tuple[Leaf, Sequence[int]]], shard: Shard) -> list[tuple[Leaf, Sequence[int]]]:
    """Return a shard of the given entries."""
    chosen = list(parts)
    entries = ((leaf.paths[number], leaf.sizes[number]) for leaf, numbers in chosen for number in numbers)
    ranks = iter(split(entries, shard.world).ranks)
    return [(leaf, [number for number in numbers if next(ranks) in shard.ranks]) for leaf, numbers in chosen]
