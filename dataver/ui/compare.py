"""Two runs: the data that both read, what differs in it by content, and what differs in their facts."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from dataver import Diff
from dataver.documents import change_values
from dataver.lineage.queries.compare import Comparison, Pair
from dataver.ui.asked import Asked
from dataver.ui.run import facts, link_row
from dataver.ui.runs import row

__all__ = ["page"]

_LINKS: Final = 100
_CHANGES: Final = 50
_ROWS: Final = 200


def page(asked: Asked) -> dict[str, Any]:
    """Return the comparison of two runs (`first`, `second`)."""
    lineage, keys = asked.repository.lineage, (asked.required("first"), asked.required("second"))
    found: Comparison = asked.memory.get(("compare", *keys), lambda: lineage.compare(*keys))
    runs = found.first, found.second
    installed = [dict(each.partition("==")[::2] for each in lineage.packages(run)) for run in runs]
    packages = _differing(installed) if all(installed) else []  # unknown ones do not differ
    words = [each.command[:_ROWS] for each in runs]
    return {
        "first": row(found.first.run),
        "second": row(found.second.run),
        "same": found.same,
        "certain": all(each.used for run in runs for each in run.inputs),
        "common": list(map(link_row, found.common[:_LINKS])),
        "pairs": list(map(_pair, found.pairs[:_LINKS])),
        "numbers": {"common": len(found.common), "pairs": len(found.pairs), "packages": len(packages)},
        "commands": [_words(*words), _words(*reversed(words))],
        "facts": _differing(list(map(facts, runs))),
        "packages": packages[:_ROWS],
    }


def _words(mine: Sequence[str], others: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": word, "only": word not in others} for word in mine]


def _differing(sides: list[dict[str, str]]) -> list[dict[str, str | None]]:
    first, second = sides
    return [
        {"name": name, "first": first.get(name), "second": second.get(name)}
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def _pair(pair: Pair) -> dict[str, Any]:
    diff = None if pair.changes is None else Diff.of(pair.changes)
    changes = [change_values(each) for each in islice(diff or (), _CHANGES)]
    known = {"dataset": pair.dataset, "first": link_row(pair.first), "second": link_row(pair.second)}
    summary = None if diff is None else diff.summary()
    return {**known, "same_content": pair.same_content, "summary": summary, "changes": changes}
