"""Uses: one version, with everything that a run did with it, as written to trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dataver.formats.event import MAX_LISTED, Subset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataver.formats.event import Link
    from dataver.repository import RepositoryCore

__all__ = ["Use", "united", "use_of"]


class Use(NamedTuple):
    """One version that a run consumed or produced, as written to trackers.

    Attributes:
        role: `input` or `output`.
        repository_id: the repository's id, 32 hex.
        repository_url: its URL, without passwords, tokens or query.
        dataset: the dataset's name.
        label: the version's label; None for an output that is not published yet.
        ref: `dataset@label`; only the dataset if there is no label yet.
        tree: the digest of its tree, 64 hex.
        record: the id of its record, 64 hex; None for an output that is not published yet.
        subset: the part that was read; false if it is the whole.
        files: number of files in it.
        size: bytes of them.
        asked: the reference as typed by the user, such as `cats@production`; None for outputs.
        how: `fetch`, `read`, `available` (read before the run began) …
    """

    role: str
    repository_id: str
    repository_url: str
    dataset: str
    label: str | None
    ref: str
    tree: str
    record: str | None
    subset: Subset
    files: int
    size: int
    asked: str | None = None
    how: str = "fetch"


def use_of(repo: RepositoryCore, link: Link, asked: str | None) -> Use:
    """Return the use of a link; `asked` is the reference as typed by the user."""
    return Use(
        role=link.role,
        repository_id=repo.id,
        repository_url=repo.url,
        dataset=link.dataset,
        label=link.label,
        ref=f"{link.dataset}@{link.label}" if link.label else link.dataset,
        tree=link.tree,
        record=link.record,
        subset=link.subset,
        files=link.files,
        size=link.size,
        asked=asked,
        how=link.how,
    )


def united(link: Link, links: Iterable[Link]) -> Link:
    """Return one link that combines all links of a run to a version, if possible; else the given one.

    Links with `available` are ignored if there are others.
    """
    same = [
        each for each in links if (each.role, each.record, each.tree) == (link.role, link.record, link.tree)
    ]
    same = [each for each in same if each.how != "available"] or same
    if not same or link.record is None:
        return link
    if any(each.subset.shard or each.subset.listed or each.subset.exclude for each in same):
        return link
    whole = next((each for each in same if not each.subset), None)
    if whole is not None:
        return whole
    patterns = sorted({pattern for each in same for pattern in each.subset.patterns})
    paths = sorted({path for each in same for path in each.subset.paths})
    return same[-1]._replace(
        subset=Subset(patterns=tuple(patterns), paths=tuple(paths[:MAX_LISTED])),
        files=sum(each.files for each in same),
        size=sum(each.size for each in same),
    )
