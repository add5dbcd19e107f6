"""Results of detectors, and the conversion of other systems' identifiers to context ids."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from dataver.formats.context import Context

# Imports in functions: only an environment with a scheduler or tracker needs it.

__all__ = ["Found", "found"]

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f%]")
_LONGEST: Final = 480
_FACT: Final = 500  # maximum characters of a fact


class Found(NamedTuple):
    """A context, and whether it is one run or task (`whole`) or a group of them."""

    context: Context
    whole: bool


def found(system: str, kind: str, *parts: object, whole: bool = True, **facts: object) -> Found:
    """Return a context with a valid id and redacted facts.

    Args:
        system: `slurm` …
        kind: one of `dataver.formats.event.KINDS`.
        parts: the components of its id, from the widest to the nearest; joined by `/`.
        whole: whether it is one run or task.
        facts: facts to display; None and empty values are omitted.

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
    shown = {fact: _shown(str(value)) for fact, value in facts.items() if value not in (None, "")}
    return Found(Context(system=system, id=name, kind=kind, facts=shown), whole)


@lru_cache(256)  # detectors run at every read, mostly with the same facts
def _shown(text: str) -> str:
    from dataver.lineage.capture.redact import redact

    return redact(text)[:_FACT]
