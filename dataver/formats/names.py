"""Rules for the names of datasets, labels and tags; and semantic labels.

The idea: a name is part of a key in any store, of a path on any disk, and of a command line, so only
characters that all of these accept unchanged are allowed. Each rule has its own error message.

Keeps invariant 7, and its part of 9: no name leads out of the folder of its keys.
"""

import re
from collections.abc import Iterable
from typing import Final

from dataver.arguments import check_word
from dataver.errors import InvalidInput

__all__ = [
    "MAX_NAME",
    "check_dataset_name",
    "check_label",
    "check_tag",
    "is_other_case",
    "next_label",
    "parse_semver",
]

MAX_NAME: Final = 200
BUMPS: Final = ("major", "minor", "patch")

_PART: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_SEMVER: Final = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
_RESERVED_PARTS: Final = ("versions", "tags")  # folders of keys inside a dataset


def is_other_case(first: str, second: str) -> bool:
    """Return whether two names differ in case only."""
    return first != second and first.casefold() == second.casefold()


def check_dataset_name(name: str) -> None:
    """Check a dataset name: `/`-separated parts of letters, digits, `.`, `_` and `-`.

    Raises:
        InvalidInput: the message states the broken rule.
    """
    _check_length(name, "dataset name")
    for part in name.split("/"):
        if not part:
            raise InvalidInput(
                f"the dataset name {name!r} has an empty part", hint="put one '/' between parts"
            )
        _check_part(part, f"dataset name {name!r}")
        if part.lower() in _RESERVED_PARTS:
            raise InvalidInput(f"the dataset name {name!r} has a part {part!r}, which is reserved")


def check_label(label: str) -> None:
    """Check the label of a version.

    Raises:
        InvalidInput: the message states the broken rule.
    """
    _check_selector(label, "label")


def check_tag(tag: str) -> None:
    """Check the name of a tag. It does not check whether a version has that label.

    Raises:
        InvalidInput: the message states the broken rule.
    """
    _check_selector(tag, "tag")


def parse_semver(label: str) -> tuple[int, int, int] | None:
    """Return the numbers of a label like `1.10.0`, for comparison; None for every other label."""
    match = _SEMVER.fullmatch(label)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def next_label(existing: Iterable[str], bump: str = "patch") -> str:
    """Return the label after the highest semantic one of `existing`; `1.0.0` if there is none.

    Args:
        existing: the labels in use; those that are not semantic are ignored.
        bump: "major", "minor" or "patch": the number to increase; those after it become 0.

    Raises:
        InvalidInput: an unknown `bump`.
    """
    check_word("bump", bump, BUMPS)
    highest = max(filter(None, map(parse_semver, existing)), default=None)
    if highest is None:
        return "1.0.0"
    grows = BUMPS.index(bump)
    return ".".join(str(n + 1 if i == grows else n if i < grows else 0) for i, n in enumerate(highest))


def _check_selector(name: str, kind: str) -> None:
    _check_length(name, kind)
    _check_part(name, f"{kind} {name!r}")
    if name.lower() == "latest":
        raise InvalidInput(f"{name!r} cannot be a {kind}: it always means the highest version")


def _check_length(name: str, kind: str) -> None:
    if not name:
        raise InvalidInput(f"the {kind} is empty", hint=_hint(kind))
    if len(name) > MAX_NAME:
        raise InvalidInput(f"the {kind} {name[:40]!r}… has {len(name)} characters; the limit is {MAX_NAME}")


def _check_part(part: str, what: str) -> None:
    if not _PART.fullmatch(part):
        odd = re.sub(r"[A-Za-z0-9._-]", "", part)[0]
        raise InvalidInput(f"the {what} has the character {odd!r}", hint=_hint(what))
    if part[0] in ".-":
        raise InvalidInput(f"the {what} has a part that begins with {part[0]!r}", hint=_hint(what))
    if part[-1] == ".":
        raise InvalidInput(f"the {what} has a part that ends with '.', which Windows drops", hint=_hint(what))


def _hint(what: str) -> str:
    example = "vision/cats" if what.startswith("dataset") else "2.1-final"
    return f"use letters, digits, '.', '_' and '-', such as {example}"
