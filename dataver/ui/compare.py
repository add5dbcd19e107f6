"""Two runs: the data that both read, what differs in it by content, and what differs in their facts."""

from typing import Any, Final

from dataver import Diff
from dataver.documents import kind_of_change, link_values
from dataver.lineage.queries.compare import Comparison, Pair
from dataver.lineage.queries.results import IndexedLink, RunAnswer
from dataver.tree import Change
from dataver.ui.asked import Asked
from dataver.ui.run import facts
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
    differing = _differing(*(dict(map(_package, lineage.packages(each))) for each in runs))
    return {
        "first": row(found.first.run),
        "second": row(found.second.run),
        "same": found.same,
        "certain": all(each.used for run in runs for each in run.inputs),
        "common": [_link(each) for each in found.common[:_LINKS]],
        "pairs": [_pair(each) for each in found.pairs[:_LINKS]],
        "numbers": {"common": len(found.common), "pairs": len(found.pairs), "packages": len(differing)},
        "commands": _commands(*runs),
        "facts": _differing(*({**facts(each), **_who(each)} for each in runs)),
        "packages": differing[:_ROWS],
    }


def _who(answer: RunAnswer) -> dict[str, str]:
    run = answer.run
    return {name: text for name, text in (("user", run.user), ("host", run.host)) if text}


def _package(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return name, version


def _differing(first: dict[str, str], second: dict[str, str]) -> list[dict[str, str | None]]:
    return [
        {"name": name, "first": first.get(name), "second": second.get(name)}
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def _commands(*runs: RunAnswer) -> list[list[dict[str, Any]]]:
    """Return the arguments of each run, and whether the other one has them."""
    words = [list(map(str, each.facts.get("argv") or ()))[:_ROWS] for each in runs]
    return [
        [{"text": word, "only": word not in other} for word in mine]
        for mine, other in ((words[0], set(words[1])), (words[1], set(words[0])))
    ]


def _link(link: IndexedLink | None) -> dict[str, Any] | None:
    return None if link is None else {**link_values(link), "part": link.part}


def _pair(pair: Pair) -> dict[str, Any]:
    diff = None if pair.changes is None else Diff.of(pair.changes)
    return {
        "dataset": pair.dataset,
        "first": _link(pair.first),
        "second": _link(pair.second),
        "same_content": pair.same_content,
        "summary": None if diff is None else diff.summary(),
        "changes": []
        if diff is None
        else [_change(each) for _, each in zip(range(_CHANGES), diff, strict=False)],
    }


def _change(change: Change) -> dict[str, Any]:
    old = change.old.path if change.old else None
    return {"kind": kind_of_change(change), "path": change.path, "old": old}
