"""The names of all objects in a repository: one function a kind of key (`docs/format.md`, "Keys").

Keys are `/`-separated and relative to the repository's URL. Nothing else in dataver spells a key.
"""

import re
from typing import NamedTuple

from dataver.errors import InvalidInput
from dataver.formats.names import check_dataset_name, check_label

__all__ = [
    "CONFIG",
    "DATASETS",
    "PACKS",
    "TREES",
    "TagKey",
    "block_key",
    "dataset_prefix",
    "pack_key",
    "parse_record_key",
    "parse_tag_key",
    "record_key",
    "record_prefix",
    "tag_key",
    "tag_prefix",
]

CONFIG = "dataver.json"
PACKS = "packs/"
TREES = "trees/"
DATASETS = "datasets/"

_NUMBER = re.compile(r"(\d{8,})\.json", re.ASCII)


class TagKey(NamedTuple):
    """What the key of a tag's move says."""

    dataset: str
    tag: str
    number: int


def pack_key(pack_id: bytes) -> str:
    """Return the key of a pack."""
    name = pack_id.hex()
    return f"{PACKS}{name[:2]}/{name}"


def block_key(digest: bytes) -> str:
    """Return the key of a tree block."""
    name = digest.hex()
    return f"{TREES}{name[:2]}/{name}"


def dataset_prefix(dataset: str) -> str:
    """Return the prefix of everything that belongs to one dataset."""
    return f"{DATASETS}{dataset}/"


def record_prefix(dataset: str) -> str:
    """Return the prefix of a dataset's records."""
    return f"{DATASETS}{dataset}/versions/"


def record_key(dataset: str, label: str) -> str:
    """Return the key of the record that publishes `dataset@label`."""
    return f"{record_prefix(dataset)}{label}.json"


def tag_prefix(dataset: str, tag: str | None = None) -> str:
    """Return the prefix of all tags of a dataset, or of the moves of one tag."""
    base = f"{DATASETS}{dataset}/tags/"
    return base if tag is None else f"{base}{tag}/"


def tag_key(dataset: str, tag: str, number: int) -> str:
    """Return the key of a tag's move; numbers start at 1 and sort as text."""
    return f"{tag_prefix(dataset, tag)}{number:08d}.json"


def parse_record_key(key: str) -> tuple[str, str] | None:
    """Return `(dataset, label)` of a record's key, or None for any other key."""
    parts = key.split("/")
    if len(parts) < 4 or parts[0] != "datasets" or parts[-2] != "versions" or not parts[-1].endswith(".json"):
        return None
    dataset, label = "/".join(parts[1:-2]), parts[-1].removesuffix(".json")
    return (dataset, label) if _are_names(dataset, label) else None


def parse_tag_key(key: str) -> TagKey | None:
    """Return what a tag move's key says, or None for any other key."""
    parts = key.split("/")
    if len(parts) < 5 or parts[0] != "datasets" or parts[-3] != "tags":
        return None
    number = _NUMBER.fullmatch(parts[-1])
    dataset, tag = "/".join(parts[1:-3]), parts[-2]
    return TagKey(dataset, tag, int(number[1])) if number and _are_names(dataset, tag) else None


def _are_names(dataset: str, selector: str) -> bool:
    """Tell ours from what a sync tool or a hand left beside it, such as `._1.0.0.json`."""
    try:
        check_dataset_name(dataset)
        check_label(selector)
    except InvalidInput:
        return False
    return True
