"""Verification of records, tombstones, tag moves, descriptions and profiles: of a version's dataset, or all.

The idea: a record contains the ids of its parents' records, so a replaced record is detected through its
children. All records, moves of tags and tombstones are read; each has a checksum (format 2), or at least a
strict form. Read-only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, NotFound, StoreError
from dataver.formats.record import ParentRef
from dataver.formats.tag import TagMove
from dataver.formats.tombstone import Tombstone
from dataver.repository.layout import (
    DATASETS,
    DESCRIPTIONS,
    PROFILES,
    parse_description_key,
    parse_profiles_key,
    parse_record_key,
    parse_tag_key,
    parse_tombstone_key,
    tag_key,
    tag_prefix,
)
from dataver.repository.profiles import Profiles
from dataver.repository.records import Published, Records
from dataver.repository.repository import RepositoryCore
from dataver.storage import ObjectInfo

__all__ = ["Histories", "VersionFacts", "other_totals", "read_histories", "record_findings"]

_LOST: Final = 100  # moves of a tag that are named as missing: a key may have any number


class VersionFacts(NamedTuple):
    """Values of a version's record.

    Attributes:
        record: the id of the record, 64 hex.
        tree: the digest of its root block.
        totals: the counts of entries and files, and the bytes of the files.
    """

    record: str
    tree: bytes
    totals: tuple[int, int, int]


@dataclass
class Histories:
    """The records, tombstones, moves of tags, descriptions and profiles of all datasets.

    Attributes:
        versions: the facts of each readable record, by `dataset@label`, sorted.
        findings: problems: a name, and a description.
        affected: the versions, by `dataset@label`, whose record is damaged or was replaced.
        objects: objects read.
        size: their bytes.
    """

    versions: dict[str, VersionFacts] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)
    affected: set[str] = field(default_factory=set)
    objects: int = 0
    size: int = 0


def read_histories(repo: RepositoryCore) -> Histories:
    """Read every record, tombstone, tag move, description and profile once; compare ids of records.

    Raises:
        StoreError: the store failed.
    """
    found = Histories()
    known: dict[str, str] = {}  # ids of records, those of deleted versions included
    claims: list[tuple[str, str, str]] = []  # name of a version, id that it should have, source of the id
    infos = [*repo.store.list(DATASETS), *repo.store.list(DESCRIPTIONS)]
    infos += _list_profiles(repo, found)
    deleted = {parse_tombstone_key(info.key) for info in infos}
    found.findings += ((key, "is missing: later moves of the tag exist") for key in _lost_moves(infos))
    records, profiles = Records(repo.store, None), Profiles(repo.store, None)

    def read(info: ObjectInfo) -> tuple[str, object]:
        try:
            if name := parse_record_key(info.key):
                return "@".join(name), None if name in deleted else records.read(*name)
            if name := parse_tombstone_key(info.key):
                return "@".join(name), records.tombstone(*name)
            if move := parse_tag_key(info.key):
                return f"{move.dataset}@{move.tag}", repo.tags.read(*move)
            if described := parse_description_key(info.key):
                return info.key, repo.descriptions.read(*described)
            if parse_profiles_key(info.key):
                return _check_profiles(profiles, info.key)
        except (IntegrityError, FormatTooNew) as error:
            return "@".join(parse_record_key(info.key) or parse_tombstone_key(info.key) or (info.key,)), error
        except NotFound:  # deleted meanwhile
            pass
        return "", None

    with parallel.pool(parallel.REQUESTS if repo.store.local_root is None else 1, "history") as pool:
        for info, (name, what) in zip(infos, pool.map(read, infos), strict=True):
            found.objects += bool(name)
            found.size += info.size if name else 0
            if isinstance(what, IntegrityError | FormatTooNew | StoreError):
                if name != PROFILES or all(each != PROFILES for each, _ in found.findings):
                    found.findings.append((name, what.message))
                if parse_record_key(info.key):
                    found.affected.add(name)
            elif isinstance(what, Published):
                record = what.record
                known[name] = what.record_id
                totals = record.entries, record.files, record.size
                found.versions[name] = VersionFacts(what.record_id, record.tree, totals)
                claims += ((f"{each.dataset}@{each.label}", each.record, name) for each in record.parents)
            elif isinstance(what, Tombstone):
                known[name] = what.record
            elif isinstance(what, TagMove) and what.record is not None:
                claims.append((f"{what.dataset}@{what.label}", what.record, f"the tag {name}"))
    found.versions = dict(sorted(found.versions.items()))
    for name, record_id, source in claims:
        if known.get(name, record_id) != record_id:
            found.findings.append((name, _replaced(source)))
            found.affected.update({name} & found.versions.keys())
    return found


def _list_profiles(repo: RepositoryCore, found: Histories) -> list[ObjectInfo]:
    """List profiles; if the store refuses, add a finding: nothing needs them."""
    try:
        return list(repo.store.list(PROFILES))
    except StoreError as error:
        found.findings.append((PROFILES, error.message))
        return []


def _check_profiles(profiles: Profiles, key: str) -> tuple[str, object]:
    """Check an object; if the store refuses, return the error under the name of all."""
    try:
        profiles.check(key)
    except StoreError as error:
        return PROFILES, error
    return key, None


def _lost_moves(infos: list[ObjectInfo]) -> Iterator[str]:
    """Yield the keys of moves of tags that are not listed; moves are numbered from 1 without gaps."""
    there: dict[tuple[str, str], set[int]] = {}
    for key in filter(None, (parse_tag_key(info.key) for info in infos)):
        there.setdefault((key.dataset, key.tag), set()).add(key.number)
    for (dataset, tag), numbers in sorted(there.items()):
        lost = (number for number in range(1, max(numbers)) if number not in numbers)
        yield from (tag_key(dataset, tag, number) for number in islice(lost, _LOST))


def _replaced(source: str) -> str:
    return f"its record is not the one that {source} names"


def record_findings(repo: RepositoryCore, published: Published) -> list[tuple[str, str]]:
    """Return the problems of a version's record, parents and children, and its dataset's tags and tombstones.

    Raises:
        StoreError: the store failed.
    """
    found = [*_totals(repo, published), *_parents(repo, published)]
    dataset = published.record.dataset
    records = Records(repo.store, None)  # without records that this process has cached

    def look(work: tuple[str, str, int]) -> list[tuple[str, str]]:
        label, tag, number = work
        name = f"{dataset}@{tag or label}"
        try:
            if tag:
                repo.tags.read(dataset, tag, number)
            elif number:
                records.tombstone(dataset, label)
            elif label != published.record.label:
                return list(_child(records.get(dataset, label), published))
        except (IntegrityError, FormatTooNew) as error:
            return [(name, error.message)]
        except NotFound:  # deleted meanwhile
            pass
        return []

    keys = (parse_tag_key(info.key) for info in repo.store.list(tag_prefix(dataset)))
    work = [(label, "", 0) for label in records.labels(dataset)]
    work += [(label, "", 1) for name, label in records.deleted(dataset) if name == dataset]
    work += [("", key.tag, key.number) for key in keys if key and key.dataset == dataset]
    with parallel.pool(parallel.REQUESTS if repo.store.local_root is None else 1, "history") as pool:
        found += [each for some in pool.map(look, work) for each in some]
    return list(dict.fromkeys(found))


def _totals(repo: RepositoryCore, published: Published) -> Iterator[tuple[str, str]]:
    record = published.record
    try:
        block = repo.blocks.load(record.tree)
    except (IntegrityError, FormatTooNew):
        return  # reported by the verification of the tree
    there = block.entry_count, block.file_count, block.byte_count
    totals = record.entries, record.files, record.size
    if there != totals:
        yield published.ref, other_totals(totals, there)


def other_totals(record: tuple[int, int, int], tree: tuple[int, int, int]) -> str:
    """Describe a record whose numbers of entries, files and bytes differ from those of its tree."""
    return "its record has {} entries, {} files, {} bytes, but its tree has {}, {}, {}".format(*record, *tree)


def _parents(repo: RepositoryCore, published: Published) -> Iterator[tuple[str, str]]:
    for parent in published.record.parents:
        ref = f"{parent.dataset}@{parent.label}"
        try:
            if not _is_parent(repo, parent):
                yield ref, f"its record is not the one that {published.ref} was made from"
        except (IntegrityError, FormatTooNew) as error:
            yield ref, error.message


def _is_parent(repo: RepositoryCore, parent: ParentRef) -> bool:
    """Return whether a parent's record or tombstone matches the child; True if neither exists."""
    records = Records(repo.store, None)
    try:
        found = records.get(parent.dataset, parent.label)
    except NotFound:
        tombstone = records.tombstone(parent.dataset, parent.label)
        return tombstone is None or tombstone.record == parent.record
    return (found.record_id, found.record.tree.hex()) == (parent.record, parent.tree)


def _child(other: Published, published: Published) -> Iterator[tuple[str, str]]:
    here = published.record.dataset, published.record.label
    for parent in other.record.parents:
        if (parent.dataset, parent.label) == here and parent.record != published.record_id:
            yield published.ref, f"its record is not the one that {other.ref} was made from"
