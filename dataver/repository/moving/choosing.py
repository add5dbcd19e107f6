"""Which versions and tags are to be moved: all, or what references name.

name           every version of the dataset, and its tags
name@tag       the version that the tag points to, and the tag
name@label     that version; also name@latest, dv1:<prefix>
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataver.errors import IntegrityError, NotFound
from dataver.repository.moving.holding import Names, list_names
from dataver.repository.records import Published
from dataver.repository.repository import Repository
from dataver.repository.resolve import LATEST, split_ref

__all__ = ["Choice", "choose"]


@dataclass
class Choice:
    """What is to be moved.

    Attributes:
        versions: the versions, oldest first, so that parents come before their children.
        tags: dataset and name of each tag.
        deleted: dataset and label of the deleted versions whose tombstones come along.
        names: what the source's listing said about the datasets concerned.
        whole: whether it is everything the repository holds.
        problems: what cannot be moved, and why.
    """

    versions: list[Published]
    tags: list[tuple[str, str]]
    deleted: list[tuple[str, str]]
    names: Names
    whole: bool
    problems: list[tuple[str, str]]


def choose(source: Repository, refs: Sequence[str] = ()) -> Choice:
    """Return what some references name; everything where there is none.

    Raises:
        NotFound: a reference that names nothing.
        InvalidInput: what is no reference.
    """
    if not refs:
        names = list_names(source.store)
        wanted = [(name, label) for name, labels in names.versions.items() for label in sorted(labels)]
        return _read(source, wanted, list(names.tags), sorted(names.deleted), names, whole=True)
    given = list(dict.fromkeys(refs))
    plain = [ref for ref in given if not ref.startswith("dv1:")]
    names = list_names(source.store, {split_ref(ref)[0] for ref in plain})
    versions: set[tuple[str, str]] = set()
    tags: list[tuple[str, str]] = []
    deleted: list[tuple[str, str]] = []
    for ref in given:
        name, selector = (None, None) if ref.startswith("dv1:") else split_ref(ref)
        if name is not None and selector is None:
            deleted += sorted(each for each in names.deleted if each[0] == name)
            if not names.versions.get(name) and not deleted:
                source.resolve(ref)  # raises, and says what comes near
            versions.update((name, label) for label in names.versions[name])
            tags += [tag for tag in names.tags if tag[0] == name]
            continue
        record = source.resolve(ref).record
        versions.add((record.dataset, record.label))
        if name is not None and selector not in (None, LATEST, record.label):
            tags.append((name, str(selector)))
    return _read(source, sorted(versions), list(dict.fromkeys(tags)), deleted, names, whole=False)


def _read(
    source: Repository,
    wanted: list[tuple[str, str]],
    tags: list[tuple[str, str]],
    deleted: list[tuple[str, str]],
    names: Names,
    *,
    whole: bool,
) -> Choice:
    """Read the records; one that is damaged keeps no other from being moved."""
    problems: list[tuple[str, str]] = []
    try:
        found = source.records.many(wanted)
    except (IntegrityError, NotFound):
        found = []
        for dataset, label in wanted:
            try:
                found.append(source.records.get(dataset, label))
            except (IntegrityError, NotFound) as error:
                problems.append((f"{dataset}@{label}", error.message))
    found.sort(key=lambda each: (each.record.created, each.ref))
    return Choice(found, sorted(tags), deleted, names, whole, problems)
