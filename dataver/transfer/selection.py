"""Selection of versions and tags for a transfer: all, or those that refs name.

name           every version of the dataset, and its tags
name@tag       the version that the tag points to, and the tag
name@label     that version; also name@latest, dv1:<prefix>
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataver.errors import IntegrityError, NotFound
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.repository.resolve import LATEST, split_ref
from dataver.transfer.inventory import Names, list_names

__all__ = ["Choice", "choose"]


@dataclass
class Choice:
    """Selected versions and tags.

    Attributes:
        versions: the versions, oldest first, so that parents precede their children.
        tags: dataset and name of each tag.
        deleted: dataset and label of the deleted versions whose tombstones are copied.
        names: the source's listing of the datasets.
        whole: whether the whole repository is selected.
        problems: items that cannot be transferred, and the reasons.
    """

    versions: list[Published]
    tags: list[tuple[str, str]]
    deleted: list[tuple[str, str]]
    names: Names
    whole: bool
    problems: list[tuple[str, str]]


def choose(source: RepositoryCore, refs: Sequence[str] = ()) -> Choice:
    """Return the versions and tags that refs name; all if there are no refs.

    Raises:
        NotFound: a ref does not resolve.
        InvalidInput: not a ref.
    """
    if not refs:
        names = list_names(source.store)
        everything = {(name, label) for name, labels in names.versions.items() for label in labels}
        return _read(source, everything, list(names.tags), sorted(names.deleted), names, whole=True)
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
                source.resolve(ref)  # raises an error with similar names
            versions.update((name, label) for label in names.versions[name])
            tags += [tag for tag in names.tags if tag[0] == name]
            continue
        record = source.resolve(ref).record
        versions.add((record.dataset, record.label))
        if name is not None and selector not in (None, LATEST, record.label):
            tags.append((name, str(selector)))
    return _read(source, versions, list(dict.fromkeys(tags)), deleted, names, whole=False)


def _read(
    source: RepositoryCore,
    versions: set[tuple[str, str]],
    tags: list[tuple[str, str]],
    deleted: list[tuple[str, str]],
    names: Names,
    *,
    whole: bool,
) -> Choice:
    """Read the records; a damaged one is reported and does not affect the others."""
    problems: list[tuple[str, str]] = []
    wanted = [(dataset, label, names.versions[dataset].get(label)) for dataset, label in sorted(versions)]
    try:
        found = source.records.many(wanted)
    except (IntegrityError, NotFound):
        found = []
        for each in wanted:
            try:
                found.append(source.records.get(*each))
            except (IntegrityError, NotFound) as error:
                problems.append((f"{each[0]}@{each[1]}", error.message))
    found.sort(key=lambda each: (each.record.created, each.ref))
    return Choice(found, sorted(tags), deleted, names, whole, problems)
