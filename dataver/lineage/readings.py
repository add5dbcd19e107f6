"""What a run read, as something to fetch again: exact versions, and patterns of the part of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import IntegrityError, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataver.formats.event import Subset
    from dataver.lineage.questions.answers import Link, RunAnswer
    from dataver.repository import Repository

__all__ = ["Reading", "literal", "readings_of"]


class Reading(NamedTuple):
    """A version that a run read: its exact reference, and which part; no patterns mean the whole."""

    ref: str
    patterns: list[str] | None


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
        InvalidInput: the run read a shard, which patterns cannot name.
    """
    if not answer.inputs:
        raise NotFound(f"{answer.run.key} is not known to have read anything.")
    found: dict[str, list[str] | None] = {}
    for link in answer.inputs:
        _confirm(repository, link)
        patterns = _patterns(link.subset, listing, answer.run.key)
        before = found.get(link.ref, [])
        found[link.ref] = None if patterns is None or before is None else [*before, *patterns]
    return [Reading(ref, None if each is None else list(dict.fromkeys(each))) for ref, each in found.items()]


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


def _patterns(subset: Subset, listing: Callable[[str], Iterable[str]], run: str) -> list[str] | None:
    if subset.shard is not None:
        raise InvalidInput(
            f"{run} read shard {subset.shard[0]} of {subset.shard[1]}, which `--run` cannot bring back.",
            hint="fetch the version by its name",
        )
    if subset.listed is not None:
        return [literal(path) for path in listing(subset.listed)]
    if subset.paths:
        return [literal(path) for path in subset.paths]
    return list(subset.patterns) or None
