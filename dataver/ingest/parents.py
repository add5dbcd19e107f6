"""What a draft starts from: nothing, its parent, or its parents merged."""

from collections import deque
from collections.abc import Callable, Sequence

from dataver.errors import NotFound
from dataver.formats.block import Encoded, Inner, Leaf
from dataver.repository import Published, Repository
from dataver.tree import build, merge

__all__ = ["merge_parents"]


def merge_parents(
    repository: Repository,
    parents: Sequence[Published],
    load: Callable[[bytes], Leaf | Inner],
    save: Callable[[Encoded], None],
    may_be_base: Callable[[bytes], bool],
) -> tuple[bytes, list[str]]:
    """Return the tree a draft of these parents starts from, and the paths they disagreed about.

    Later parents win. Two parents are merged three-way against their nearest common ancestor, so that what
    one
    of them removed stays removed; without one, everything either holds is kept.
    """
    if not parents:
        return build((), save).digest, []
    root, conflicts = parents[0].record.tree, set[str]()
    merged = [parents[0]]
    for parent in parents[1:]:
        base = _common_ancestor(repository, merged, parent)
        result, clashes = merge(
            base, root, parent.record.tree, load, save, prefer="theirs", may_be_base=may_be_base
        )
        root = result.digest
        conflicts.update(clash.path for clash in clashes)
        merged.append(parent)
    return root, sorted(conflicts)


def _common_ancestor(repository: Repository, ours: Sequence[Published], theirs: Published) -> bytes | None:
    """Return the tree of the nearest version that both sides come from (or are)."""
    reached = {each.record_id for each in _ancestors(repository, ours)}
    for each in _ancestors(repository, [theirs]):
        if each.record_id in reached:
            return each.record.tree
    return None


def _ancestors(repository: Repository, starts: Sequence[Published]) -> list[Published]:
    """Return the starts and all versions they come from, nearest first; deleted ones end the walk."""
    queue, seen, found = deque(starts), {each.record_id for each in starts}, []
    while queue:
        each = queue.popleft()
        found.append(each)
        for parent in each.record.parents:
            if parent.record not in seen:
                seen.add(parent.record)
                try:
                    queue.append(repository.records.get(parent.dataset, parent.label))
                except NotFound:
                    continue
    return found
