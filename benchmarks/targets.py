"""What dataver set itself, and what was measured of it: every line is computed from results."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures

__all__ = ["Target", "read_million", "targets"]

_ADD = {"table": 1.25, "parquet": 1.25, "tensor": 1.25, "images": 1.5, "tiny": 3.5}  # of tar, the same run
_SECOND = {"table": 0.35, "parquet": 0.35, "tensor": 0.35, "source": 0.35}  # of add v1
_SECONDS = {"images": 0.6, "tiny": 1.0}
_FETCH_NEXT = {"images": 0.5, "tiny": 0.5, "source": 0.5}  # of cp -r; 0.6 on the rest
_UPON = {"table": 35, "parquet": 24, "tensor": 50, "images": 24, "tiny": 1}  # MB that v2 adds
_MILLION = {
    "first page of ls": ("ls, first page", 0.3),
    "first page of ls --recursive": ("ls -r, first page", 0.3),
    "list of versions": ("list", 0.3),
    "show": ("show", 0.3),
    "diff of 10 files": ("diff, 10 files", 0.5),
    "building the tree": ("build tree", 15.0),
    "a child with one changed file": ("child, 1 file", 0.5),
}
_RACES = ("add-again", "fetch-v1", "fetch-v2", "verify", "diff", "list")
_PEAK = 300e6
_FLAT = (
    1.15  # how much more memory ten times the data may take and still count as the same: allocator's noise
)


@dataclass(frozen=True)
class Target:
    """One aim for one data set, what was measured, and whether that meets it."""

    what: str
    where: str
    aim: str
    value: str
    met: bool


def read_million(path: Path) -> dict[str, float]:
    """Return the seconds by operation that `python -m benchmarks.million` printed."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return {row["operation"]: row["seconds"] for row in rows if "operation" in row and "seconds" in row}


def targets(figures: Figures, million: dict[str, float]) -> list[Target]:
    """Return every target that the results say something about."""
    found: list[Target] = []
    for dataset in figures.datasets():
        if "dataver" in figures.tools(dataset):
            found += _adding(figures, dataset)
            found += _fetching(figures, dataset)
            found += _storing(figures, dataset)
            found += _memory(figures, dataset)
    found += _flat(figures)
    for what, (operation, aim) in _MILLION.items():
        if operation in million:
            seconds = million[operation]
            found.append(
                Target(what, "a million files", f"below {aim:g} s", f"{seconds:.2f} s", seconds < aim)
            )
    return sorted(
        found, key=lambda target: _ORDER.index(target.what) if target.what in _ORDER else len(_ORDER)
    )


_ORDER = [
    "start",
    "add v1",
    "first among the peers",
    "add v2",
    "add again",
    "fetch v1",
    "fetch v2, v1 cached, a view",
    "fetch v2, v1 cached, a copy",
    "stored v1",
    "stored after the last version",
    "MB that v2 adds",
    "peak memory",
    "peak memory, 10 GB",
]


def _adding(figures: Figures, dataset: str) -> Iterator[Target]:
    if dataset in _ADD:
        yield from _at_most(
            "add v1",
            dataset,
            figures.ratio(dataset, "dataver", "tar", "add-v1"),
            _ADD[dataset],
            "x tar, zstd",
        )
    yield from _first(figures, dataset)
    following = figures.next_add(dataset)
    one, two = (figures.get(dataset, "dataver", name, "wall_s") for name in ("add-v1", following))
    if dataset in _SECOND and one and two:
        yield from _at_most("add v2", dataset, two / one, _SECOND[dataset], "x add v1")
    if dataset in _SECONDS:
        yield from _at_most("add v2", dataset, two, _SECONDS[dataset], " s")
    again = figures.get(dataset, "dataver", "add-again", "wall_s")
    files = next((row.source_files for row in figures.rows(dataset, "dataver", "add-v1")), 0) or 0
    yield from _at_most("add again", dataset, again, 0.25 + 12e-6 * files, " s")
    yield from _at_most("start", dataset, figures.get(dataset, "dataver", "start", "wall_s"), 0.15, " s")


def _first(figures: Figures, dataset: str) -> Iterator[Target]:
    """Yield whether no peer is faster, in any operation that a peer has."""
    rivals: dict[str, tuple[float, str]] = {}
    for operation in ("add-v1", figures.next_add(dataset), *_RACES):
        ratios = [
            (figures.ratio(dataset, tool, "dataver", operation), tool) for tool in figures.peers(dataset)
        ]
        known = [(ratio, tool) for ratio, tool in ratios if ratio is not None]
        if known:
            rivals[operation] = min(known)
    if rivals:
        told = ", ".join(
            f"{name.replace('-', ' ')} {tool} {ratio:.2f}x" for name, (ratio, tool) in rivals.items()
        )
        won = sum(ratio >= 1 for ratio, _ in rivals.values())
        value = f"{won} of {len(rivals)}; the best peer: {told}"
        yield Target("first among the peers", dataset, "in every operation", value, won == len(rivals))


def _fetching(figures: Figures, dataset: str) -> Iterator[Target]:
    cold = figures.ratio(dataset, "dataver", "cp", "fetch-v1")
    yield from _at_most("fetch v1", dataset, cold, 1.15, "x cp -r")
    aim = _FETCH_NEXT.get(dataset, 0.6)
    copy = figures.ratio(dataset, "dataver", "cp", "fetch-v2")
    yield from _at_most("fetch v2, v1 cached, a copy", dataset, copy, aim, "x cp -r")
    view = figures.ratio(dataset, "dataver", "cp", "view-v2", beside="fetch-v2")
    yield from _at_most("fetch v2, v1 cached, a view", dataset, view, aim, "x cp -r")


def _storing(figures: Figures, dataset: str) -> Iterator[Target]:
    ours = figures.stored(dataset, "dataver")
    others = {
        tool: stored
        for tool in figures.tools(dataset)
        if tool != "dataver" and (stored := figures.stored(dataset, tool))
    }
    if not ours:
        return
    peers = [tool for tool in figures.peers(dataset) if tool in others]
    if peers:
        first = min(peers, key=lambda tool: others[tool][0])
        part = ours[0] / others[first][0]
        yield Target(
            "stored v1", dataset, "at most 1.02x the best peer", f"{part:.3f}x {first}", part <= 1.02
        )
    if others:
        last = min(others, key=lambda tool: others[tool][1])
        told = f"{ours[1] / 1e6:.1f} MB, {last} {others[last][1] / 1e6:.1f} MB"
        yield Target("stored after the last version", dataset, "least", told, ours[1] <= others[last][1])
    if dataset in _UPON:
        yield from _at_most("MB that v2 adds", dataset, (ours[1] - ours[0]) / 1e6, _UPON[dataset], " MB")


def _memory(figures: Figures, dataset: str) -> Iterator[Target]:
    peak = figures.peak(dataset, "dataver")
    yield from _at_most("peak memory", dataset, peak and peak / 1e6, _PEAK / 1e6, " MB")


def _flat(figures: Figures) -> Iterator[Target]:
    for operation in ("add-v1", "fetch-v1", "verify"):
        one, ten = (figures.get(name, "dataver", operation, "rss_tree") for name in ("flat-1", "flat-10"))
        if one and ten:
            value = f"{ten / 1e6:.0f} MB, at 1 GB {one / 1e6:.0f} MB"
            what = operation.replace("-", " ")
            yield Target(
                "peak memory, 10 GB", what, f"that of 1 GB (up to {_FLAT}x)", value, ten <= _FLAT * one
            )


def _at_most(what: str, dataset: str, value: float | None, aim: float, unit: str) -> Iterator[Target]:
    if value is not None:
        yield Target(what, dataset, f"at most {aim:.3g}{unit}", f"{value:.3g}{unit}", value <= aim)
