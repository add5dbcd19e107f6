"""Data that a run read: as entries, and as exact versions, patterns and shards to fetch again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import IntegrityError, NotFound
from dataver.tree.selection import Selection, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dataver.formats.block import Leaf
    from dataver.formats.event import Subset
    from dataver.lineage.queries.results import IndexedLink, RunAnswer
    from dataver.repository import RepositoryCore
    from dataver.tree.shard import Shard

__all__ = ["Reading", "parts_read", "readings_of", "selected"]


class Reading(NamedTuple):
    """A version that a run read, and the part of it.

    Attributes:
        ref: `dataset@label`.
        patterns: globs; None means the whole version.
        shard: the part of the selected files for some of several readers; None means all files.
    """

    ref: str
    patterns: list[str] | None
    shard: Shard | None = None


class _Part(NamedTuple):
    """The part that one link refers to; empty patterns and no shard mean the whole version."""

    patterns: tuple[str, ...]
    shard: tuple[int, int] | None


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
    parts: dict[str, list[_Part]] = {}
    trees: dict[str, str] = {}
    for link in answer.inputs:
        _confirm(repository, link)
        parts.setdefault(link.ref, []).append(_Part(_patterns(link.subset, listing), link.subset.shard))
        trees[link.ref] = link.tree
    return [_united(ref, found, repository, trees[ref]) for ref, found in parts.items()]


def selected(subset: Subset, listing: Callable[[str], Iterable[str]]) -> Selection:
    """Return the selection that corresponds to a subset."""
    from dataver.tree.shard import Shard

    shard = None if subset.shard is None else Shard.of(subset.shard)
    return Selection(_patterns(subset, listing), shard=shard)


def _confirm(repository: RepositoryCore, link: IndexedLink) -> None:
    """Check that the label still belongs to the version of the link."""
    try:
        current = repository.records.get(link.dataset, link.label or "")
    except NotFound as error:
        raise NotFound(f"{link.ref}, which the run read, is not in {repository.url} any more.") from error
    if current.record_id != link.record:
        raise IntegrityError(f"{link.ref} in {repository.url} is not the version that the run read.")


def _patterns(subset: Subset, listing: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    if subset.listed is not None:
        return tuple(literal(path) for path in listing(subset.listed))
    if subset.paths:
        return tuple(literal(path) for path in subset.paths)
    return subset.patterns


def _united(ref: str, parts: list[_Part], repository: RepositoryCore, tree: str) -> Reading:
    """Return the union of all parts that were read of a version."""
    from dataver.tree.shard import Shard

    shards: dict[tuple[tuple[str, ...], int], set[int]] = {}
    for patterns, shard in parts:
        if shard is not None:
            shards.setdefault((patterns, shard[1]), set()).add(shard[0])
    complete = [key for key, ranks in shards.items() if len(ranks) == key[1]]  # all shards were read
    whole = [part.patterns for part in parts if part.shard is None] + [key[0] for key in complete]
    for key in complete:
        del shards[key]
    if () in whole:
        return Reading(ref, None)
    if len(shards) == 1 and not whole:
        ((patterns, world), ranks) = shards.popitem()
        return Reading(ref, list(patterns) or None, Shard.of((ranks, world)))
    found = [pattern for patterns in whole for pattern in patterns]
    for (patterns, world), ranks in shards.items():
        found += map(literal, _paths(repository, tree, patterns, Shard.of((ranks, world))))
    return Reading(ref, list(dict.fromkeys(found)))


def _paths(repository: RepositoryCore, tree: str, patterns: tuple[str, ...], shard: Shard) -> list[str]:
    """Return the paths of a shard of the files that patterns match."""
    parts = _sharded(Selection(patterns).parts(repository.tree(bytes.fromhex(tree))), shard)
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
        parts = Selection(subset.patterns).parts(tree)
    if subset.shard is None:
        return parts
    from dataver.tree.shard import Shard

    return _sharded(parts, Shard.of(subset.shard))


def _sharded(parts: Iterable[tuple[Leaf, Sequence[int]]], shard: Shard) -> list[tuple[Leaf, Sequence[int]]]:
    """Return a shard of the given entries."""
    from dataver.tree.shard import split

    chosen = list(parts)
    entries = ((leaf.paths[number], leaf.sizes[number]) for leaf, numbers in chosen for number in numbers)
    ranks = iter(split(entries, shard.world).ranks)
    return [(leaf, [number for number in numbers if next(ranks) in shard.ranks]) for leaf, numbers in chosen]
