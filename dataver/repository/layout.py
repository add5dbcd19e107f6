"""Keys of all objects in a repository: one function for each kind (`docs/format.md`, "Keys").

Keys are `/`-separated and relative to the repository's URL. No other module builds keys.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from dataver.errors import InvalidInput
from dataver.formats.entry import external_id, is_external
from dataver.formats.names import check_dataset_name, check_label
from dataver.hashing import DIGEST_SIZE

__all__ = [
    "CONFIG",
    "COPIES",
    "DATASETS",
    "DESCRIPTIONS",
    "EVENT_PREFIXES",
    "EXTERNALS",
    "HOLDS",
    "PACKS",
    "PARTS",
    "PROFILES",
    "RETIRED",
    "SWEEPS",
    "SWEPT",
    "TREES",
    "TURNS",
    "DescriptionKey",
    "EventKey",
    "ProfilesKey",
    "TagKey",
    "attachment_key",
    "block_key",
    "bundle_key",
    "claim_key",
    "claim_prefix",
    "copies_key",
    "copies_prefix",
    "dataset_prefix",
    "description_key",
    "description_prefix",
    "event_key",
    "events_after",
    "fork_key",
    "hold_key",
    "pack_key",
    "parse_description_key",
    "parse_copies_key",
    "parse_event_key",
    "parse_object_key",
    "parse_profiles_key",
    "parse_record_key",
    "parse_tag_key",
    "parse_tombstone_key",
    "parts_prefix",
    "profiles_key",
    "profiles_prefix",
    "record_key",
    "record_prefix",
    "retired_key",
    "sweep_key",
    "swept_key",
    "tag_key",
    "tag_prefix",
    "tombstone_key",
    "turn_key",
]

CONFIG = "dataver.json"
COPIES = "index/records/"
PACKS = "packs/"
PROFILES = "profiles/"
EXTERNALS = "externals/"
TREES = "trees/"
DATASETS = "datasets/"
DESCRIPTIONS = "descriptions/"
HOLDS = "keeping/holds/"
SWEEPS = "keeping/sweeps/"
SWEPT = "keeping/swept/"
TURNS = "turns/"
RETIRED = "keeping/retired/"
PARTS = "keeping/parts/"

EVENT_PREFIXES = ("lineage/1", "lineage/2")
"""Prefixes of events by millennium, which exclude attachments from listings."""

_NUMBER = re.compile(r"(\d{8,})\.json", re.ASCII)
_EVENT = re.compile(r"lineage/([12]\d{3}-\d\d)/([0-9a-f]{32})\.(json|bundle)", re.ASCII)
_COPIES = re.compile(r"index/records/(.+)/[0-9a-f]{64}\.zst", re.ASCII)
_PROFILES = re.compile(
    r"profiles/(.+)/((tables|files)-([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{64})\.zst", re.ASCII
)
_OBJECT = re.compile(r"(packs|trees|externals)/([0-9a-f]{2})/(\2[0-9a-f]{62})", re.ASCII)
_TOMBSTONE = ".tombstone"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 2999


class EventKey(NamedTuple):
    """Parsed key of an event or of a bundle."""

    id: str
    bundle: bool


class TagKey(NamedTuple):
    """Parsed key of a tag's move."""

    dataset: str
    tag: str
    number: int


class DescriptionKey(NamedTuple):
    """Parsed key of a description; `label` is None if it is of the dataset as a whole."""

    dataset: str
    label: str | None
    number: int


class ProfilesKey(NamedTuple):
    """Parsed key of an object with profiles; `first` and `last` are the beginnings of digests, 8 hex."""

    dataset: str
    name: str
    group: str
    first: str
    last: str


def pack_key(pack_id: bytes) -> str:
    """Return the key of a pack, or of an external one."""
    name = pack_id[-DIGEST_SIZE:].hex()
    return f"{EXTERNALS if is_external(pack_id) else PACKS}{name[:2]}/{name}"


def block_key(digest: bytes) -> str:
    """Return the key of a tree block."""
    name = digest.hex()
    return f"{TREES}{name[:2]}/{name}"


def dataset_prefix(dataset: str) -> str:
    """Return the prefix of all objects of one dataset."""
    return f"{DATASETS}{dataset}/"


def record_prefix(dataset: str) -> str:
    """Return the prefix of a dataset's records."""
    return f"{DATASETS}{dataset}/versions/"


def record_key(dataset: str, label: str) -> str:
    """Return the key of the record that publishes `dataset@label`."""
    return f"{record_prefix(dataset)}{label}.json"


def tombstone_key(dataset: str, label: str) -> str:
    """Return the key of the tombstone of `dataset@label`, which is listed with the records."""
    return f"{record_prefix(dataset)}{label}{_TOMBSTONE}"


def tag_prefix(dataset: str, tag: str | None = None) -> str:
    """Return the prefix of all tags of a dataset, or of the moves of one tag."""
    base = f"{DATASETS}{dataset}/tags/"
    return base if tag is None else f"{base}{tag}/"


def tag_key(dataset: str, tag: str, number: int) -> str:
    """Return the key of a tag's move; numbers start at 1 and sort as text."""
    return f"{tag_prefix(dataset, tag)}{number:08d}.json"


def description_prefix(dataset: str, label: str | None) -> str:
    """Return the prefix of the descriptions of a version, or of a dataset and everything below it."""
    return f"{DESCRIPTIONS}{dataset}/" + ("" if label is None else f"versions/{label}/")


def description_key(dataset: str, label: str | None, number: int) -> str:
    """Return the key of a description; numbers start at 1 and sort as text."""
    return f"{description_prefix(dataset, label)}{number:08d}.json"


def hold_key(name: str) -> str:
    """Return the key of a hold."""
    return f"{HOLDS}{name}.json"


def parts_prefix(draft: str) -> str:
    """Return the prefix of the marks and parts of a draft to which workers add."""
    return f"{PARTS}{draft}/"


def fork_key(draft: str, name: str) -> str:
    """Return the key that marks a draft as one to which workers add."""
    return f"{PARTS}{draft}/fork-{name}"


def part_key(draft: str, name: str) -> str:
    """Return the key of the blocks of one part of a draft."""
    return f"{PARTS}{draft}/{name}"


def sweep_key(name: str) -> str:
    """Return the key of a running sweep, which lists the keys it may delete."""
    return f"{SWEEPS}{name}.json"


def swept_key(name: str) -> str:
    """Return the key of a finished sweep."""
    return f"{SWEPT}{name}"


def turn_key(state: str, attempt: int) -> str:
    """Return the key of the turn to publish upon a state of a dataset (64 hex); attempts count from 0."""
    return f"{TURNS}{state[:2]}/{state}-{attempt}.json"


def retired_key(name: str) -> str:
    """Return the key of a list of packs whose bytes were moved to others."""
    return f"{RETIRED}{name}.json"


def claim_prefix(key: str) -> str:
    """Return the prefix of the claims to a key, in stores without exclusive create."""
    return f"claims/{key}/"


def claim_key(key: str, name: str) -> str:
    """Return the key of one writer's claim to a key."""
    return f"{claim_prefix(key)}{name}"


def copies_prefix(dataset: str) -> str:
    """Return the prefix of copies of a dataset's records."""
    return f"{COPIES}{dataset}/"


def copies_key(dataset: str, name: str) -> str:
    """Return the key of an object with copies of a dataset's records; the name is a digest, 64 hex."""
    return f"{copies_prefix(dataset)}{name}.zst"


def parse_copies_key(key: str) -> str | None:
    """Return the dataset of an object with copies of records, or None for any other key."""
    found = _COPIES.fullmatch(key)
    return found[1] if found else None


def profiles_prefix(dataset: str) -> str:
    """Return the prefix of the profiles of a dataset and of everything below it."""
    return f"{PROFILES}{dataset}/"


def profiles_key(dataset: str, name: str) -> str:
    """Return the key of an object with profiles."""
    return f"{profiles_prefix(dataset)}{name}.zst"


def parse_profiles_key(key: str) -> ProfilesKey | None:
    """Parse the key of an object with profiles; return None for any other key."""
    found = _PROFILES.fullmatch(key)
    return ProfilesKey(*found.groups()) if found else None


def event_key(event_id: str) -> str:
    """Return the key of an event: its id begins with its time in milliseconds, which gives the month.

    Raises:
        InvalidInput: the id's time is not between 1970 and 2999.
    """
    return f"lineage/{_month(event_id)}/{event_id}.json"


def bundle_key(bundle_id: str) -> str:
    """Return the key of a bundle of events; its id begins with a time like an event's.

    Raises:
        InvalidInput: the id's time is not between 1970 and 2999.
    """
    return f"lineage/{_month(bundle_id)}/{bundle_id}.bundle"


def attachment_key(digest: str) -> str:
    """Return the key of an attachment."""
    return f"lineage/attachments/{digest[:2]}/{digest}"


def events_after(day: date) -> str:
    """Return a string that sorts, by code points, before the keys of all events of that day and later."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    milliseconds = max(0, (start - _EPOCH) // timedelta(milliseconds=1))
    return f"lineage/{start:%Y-%m}/{milliseconds:012x}"


def parse_event_key(key: str) -> EventKey | None:
    """Parse the key of an event or a bundle; return None for any other key.

    Does not check that the month matches the id: the reader of the object does.
    """
    found = _EVENT.fullmatch(key)
    return EventKey(found[2], found[3] == "bundle") if found else None


def parse_record_key(key: str) -> tuple[str, str] | None:
    """Return `(dataset, label)` of a record's key, or None for any other key."""
    parts = key.split("/")
    if len(parts) < 4 or parts[0] != "datasets" or parts[-2] != "versions" or not parts[-1].endswith(".json"):
        return None
    dataset, label = "/".join(parts[1:-2]), parts[-1].removesuffix(".json")
    return (dataset, label) if _are_names(dataset, label) else None


def parse_tombstone_key(key: str) -> tuple[str, str] | None:
    """Return `(dataset, label)` of a tombstone's key, or None for any other key."""
    if not key.endswith(_TOMBSTONE):
        return None
    return parse_record_key(f"{key.removesuffix(_TOMBSTONE)}.json")


def parse_object_key(key: str) -> bytes | None:
    """Return the id of a pack, external or not, or the digest of a block from its key; None for any other."""
    found = _OBJECT.fullmatch(key)
    if found is None:
        return None
    name = bytes.fromhex(found[3])
    return external_id(name) if found[1] == "externals" else name


def parse_tag_key(key: str) -> TagKey | None:
    """Parse the key of a tag's move; return None for any other key."""
    parts = key.split("/")
    if len(parts) < 5 or parts[0] != "datasets" or parts[-3] != "tags":
        return None
    number = _NUMBER.fullmatch(parts[-1])
    dataset, tag = "/".join(parts[1:-3]), parts[-2]
    return TagKey(dataset, tag, int(number[1])) if number and _are_names(dataset, tag) else None


def parse_description_key(key: str) -> DescriptionKey | None:
    """Parse the key of a description; return None for any other key."""
    parts = key.split("/")
    number = _NUMBER.fullmatch(parts[-1])
    if number is None or len(parts) < 3 or parts[0] != "descriptions":
        return None
    if len(parts) > 4 and parts[-3] == "versions":
        dataset, label = "/".join(parts[1:-3]), parts[-2]
        return DescriptionKey(dataset, label, int(number[1])) if _are_names(dataset, label) else None
    dataset = "/".join(parts[1:-1])
    return DescriptionKey(dataset, None, int(number[1])) if _are_names(dataset, "1") else None


def _month(event_id: str) -> str:
    try:
        moment = _EPOCH + timedelta(milliseconds=int(event_id[:12], 16))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"the id {event_id[:40]!r} does not begin with a time.") from error
    if moment.year > _LAST_YEAR:
        raise InvalidInput(f"the id {event_id[:40]!r} has a time after the year {_LAST_YEAR}.")
    return f"{moment:%Y-%m}"


def _are_names(dataset: str, selector: str) -> bool:
    """Return whether both are valid names, unlike those of foreign files such as `._1.0.0.json`."""
    try:
        check_dataset_name(dataset)
        check_label(selector)
    except InvalidInput:
        return False
    return True
