"""What a run read, as something to fetch again: exact versions, and the part of each: patterns, a shard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import IntegrityError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataver.formats.event import Subset
    from dataver.lineage.questions.answers import Link, RunAnswer
    from dataver.repository import Repository
    from dataver.tree.shard import Shard

__all__ = ["Reading", "literal", "readings_of"]


class Reading(NamedTuple):
    """A version that a run read: its exact reference, and which part.

    Attributes:
        ref: `dataset@label`.
        patterns: globs; None means the whole.
        shard: of what they select, the part of some of several readers; None means all of it.
    """

    ref: str
    patterns: list[str] | None
    shard: Shard | None = None


class _Part(NamedTuple):
    """What one link says was read: no patterns mean everything, and so does no shard."""

    patterns: tuple[str, ...]
    shard: tuple[int, int] | None


def readings_of(
    repository: Repository, answer: RunAnswer, listing: Callable[[str], Iterable[str]]
) -> list[Reading]:
    """Return what the run of `answer` read, one `Reading` a version, in the order of time.

    Args:
        repository: holds the versions.
        answer: what the lineage knows of the run.
        listing: returns the paths of an attachment that lists them.

    Raises:
        NotFound: the run read nothing, or a version is not in the repository any more.
        IntegrityError: the label names another record than the one that was read.
    """
    if not answer.inputs:
        raise NotFound(f"{answer.run.key} is not known to have read anything.")
    parts: dict[str, list[_Part]] = {}
    trees: dict[str, str] = {}
    for link in answer.inputs:
        _confirm(repository, link)
        parts.setdefault(link.ref, []).append(_Part(_patterns(link.subset, listing), link.subset.shard))
        trees[link.ref] = link.tree
    return [_united(ref, found, repository, trees[ref]) for ref, found in parts.items()]


def literal(path: str) -> str:
    """Return the pattern that means one path and nothing else, wildcards in its name included."""
    return "/" + re.sub(r"[*?\[]", r"[\g<0>]", path)


def _confirm(repository: Repository, link: Link) -> None:
    """Compare the version with what was linked: a label deleted and made again is another version."""
    try:
        current = repository.records.get(link.dataset, link.label or "")
    except NotFound as error:
        raise NotFound(f"{link.ref}, which the run read, is not in {repository.url} any more.") from error
    if current.record_id != link.record:
        raise IntegrityError(f"{link.ref} in {repository.url} is another version than the run read.")


def _patterns(subset: Subset, listing: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    if subset.listed is not None:
        return tuple(literal(path) for path in listing(subset.listed))
    if subset.paths:
        return tuple(literal(path) for path in subset.paths)
    return subset.patterns


def _united(ref: str, parts: list[_Part], repository: Repository, tree: str) -> Reading:
    """Return all that was read of a version as one thing to fetch."""
    from dataver.tree.shard import Shard

    shards: dict[tuple[tuple[str, ...], int], set[int]] = {}
    for patterns, shard in parts:
        if shard is not None:
            shards.setdefault((patterns, shard[1]), set()).add(shard[0])
    complete = [key for key, ranks in shards.items() if len(ranks) == key[1]]  # all readers, all of it
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


def _paths(repository: Repository, tree: str, patterns: tuple[str, ...], shard: Shard) -> list[str]:
    """Return the paths of a shard of what patterns choose."""
    from dataver.tree.select import Selection
    from dataver.tree.shard import split

    selection = Selection(patterns or ("**",))
    entries = [
        (leaf.paths[number], leaf.sizes[number])
        for leaf, start, stop in repository.tree(bytes.fromhex(tree)).runs(selection.prefix())
        for number in range(start, stop)
        if selection.matches(leaf.paths[number])
    ]
    ranks = split(entries, shard.world).ranks
    return [path for (path, _), rank in zip(entries, ranks, strict=True) if rank in shard.ranks]
