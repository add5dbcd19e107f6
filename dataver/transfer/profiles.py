"""Transfer of profiles: of the files in the versions that the target has, and of no others.

Objects whose files are all in such versions are copied unchanged, once. From the others, only the profiles of
files in the versions that are published now are taken.
"""

from collections.abc import Iterable, Sequence

from dataver.errors import DataverError
from dataver.repository.profiles import Listed, locate
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore

__all__ = ["move_profiles", "plan_profiles"]


def plan_profiles(
    source: RepositoryCore, target: RepositoryCore, versions: Iterable[Published], *, whole: bool
) -> list[Listed]:
    """Return the objects to copy unchanged.

    Args:
        source: the source.
        target: the target.
        versions: the versions that it has afterwards.
        whole: whether they are all of the source, so that one listing of all profiles is the cheapest.

    Raises:
        StoreError: a store failed.
    """
    trees = _trees(versions)
    names = [None] if whole else sorted(trees)
    ours = [each for name in names for each in source.profiles.objects(name) if each[1].dataset in trees]
    there = {info.key for name in names if ours for info, _ in target.profiles.objects(name)}
    ours = [each for each in ours if each[0].key not in there]
    contents = source.profiles.load_all([info.key for info, _ in ours])
    return [
        each
        for each, content in zip(ours, contents, strict=True)
        if not isinstance(content, DataverError) and content[0] <= trees[each[1].dataset]
    ]


def move_profiles(
    source: RepositoryCore, target: RepositoryCore, objects: Sequence[Listed], versions: Iterable[Published]
) -> int:
    """Copy objects of a plan, then the other profiles of newly published versions.

    Returns:
        The number of objects copied, and of sets of profiles taken from others.

    Raises:
        StoreError: a store failed.
    """
    for each in objects:
        source.profiles.copy(each, target.profiles, each[1].dataset)
    count = len(objects)
    for dataset, trees in _trees(versions).items():
        ours = source.profiles.objects(dataset)
        there = {info.key for info, _ in target.profiles.objects(dataset)} if ours else set()
        for group in {key.group for info, key in ours if info.key not in there}:
            keys = [info.key for info, key in ours if key.group == group and info.key not in there]
            lines = source.profiles.merged(keys)
            theirs = target.profiles.find(dataset, group, lines)
            where = locate(trees, source.blocks.load, lines)
            lines = {name: lines[name] for name in where if lines[name] > theirs.get(name, b"")}
            target.profiles.add(dataset, group, {where[name] for name in lines}, lines)
            count += bool(lines)
    return count


def _trees(versions: Iterable[Published]) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for each in versions:
        found.setdefault(each.record.dataset, set()).add(each.record.tree)
    return found
