"""What a detector finds, and how identities that foreign systems give become ids."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from dataver.formats.context import Context

__all__ = ["Found", "found"]

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f%]")
_LONGEST: Final = 480
_FACT: Final = 500  # characters of a fact


class Found(NamedTuple):
    """A context, and whether it stands for one run or task (`whole`) or only surrounds some."""

    context: Context
    whole: bool


def found(system: str, kind: str, *parts: object, whole: bool = True, **facts: object) -> Found:
    """Return what was found.

    Args:
        system: `slurm` …
        kind: one of `dataver.formats.event.KINDS`.
        parts: what identifies it, from the widest to the nearest; joined by `/`.
        whole: whether it stands for one run or task.
        facts: to show; None and empty ones are left out.

    Raises:
        ValueError: a part is missing.
    """
    texts = [_FORBIDDEN.sub(lambda match: f"%{ord(match[0]):02X}", str(part)) for part in parts]
    if not all(texts) or any(part is None for part in parts):
        raise ValueError(f"{system}: a part of the id is missing")
    name = "/".join(texts)
    if len(name) > _LONGEST:
        from dataver.hashing.digest import digest

        name = f"{name[: _LONGEST - 33]}~{digest(name.encode('utf-8', 'replace')).hex()[:32]}"
    shown = {fact: str(value)[:_FACT] for fact, value in facts.items() if value not in (None, "")}
    return Found(Context(system=system, id=name, kind=kind, facts=shown), whole)
