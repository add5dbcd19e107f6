"""Makes the Markdown tables from JSON lines: `python -m benchmarks.report FILE… [--plots FOLDER]`.

Every figure is the median of its runs. A time is followed by two ratios: to dataver and to the limit, which
is `tar | zstd -1 -T2` for adding and `cp -r` for fetching; below 1 is faster than that.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.results import Result, read_results
from benchmarks.tools import TOOLS

__all__ = ["markdown"]

_LIMITS = {"add": "tar", "fetch": "cp"}
_MB = 1e6


def markdown(results: Iterable[Result]) -> str:
    """Return all tables as Markdown."""
    figures = Figures(results)
    parts = [_head(figures)]
    for dataset in figures.datasets():
        parts += [_title(figures, dataset), _times(figures, dataset), _costs(figures, dataset)]
    parts.append(_troubles(figures))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(figures: Figures) -> str:
    machines = {tuple((row.machine or {}).items()) for row in figures.results if row.machine}
    lines = []
    for machine in map(dict, machines):
        memory = float(str(machine["memory"])) / 2**30
        lines.append(
            f"{machine['cpu']}, {machine['cpus']} CPUs, {memory:.0f} GiB, {machine['filesystem']}, "
            f"{machine['system']}, Python {machine['python']}."
        )
    versions = {row.tool: row.version for row in figures.results if row.version}
    lines.append(
        "Versions: " + ", ".join(f"{tool} {versions[tool]}" for tool in TOOLS if tool in versions) + "."
    )
    return "\n\n".join(lines)


def _title(figures: Figures, dataset: str) -> str:
    rows = [row for row in figures.results if row.dataset == dataset and row.source_bytes]
    first = next(row for row in rows if row.operation == "add-v1")
    runs = len(
        {(row.run, row.started) for row in rows if row.operation == "add-v1" and row.tool == first.tool}
    )
    return (
        f"## {dataset}\n\nv1: {_millions(first.source_bytes)} MB in {first.source_files:,} files, scale "
        f"{first.scale:g}, {runs} runs. Seconds (x dataver, x limit)."
    )


def _times(figures: Figures, dataset: str) -> str:
    operations = figures.operations(dataset)
    rows = [
        [
            tool,
            *(_time(figures, dataset, tool, operation) for operation in operations),
            _widest(figures, dataset, tool),
        ]
        for tool in figures.tools(dataset)
    ]
    return _table(["tool", *(name.replace("-", " ") for name in operations), "spread"], rows)


def _time(figures: Figures, dataset: str, tool: str, operation: str) -> str:
    value = figures.get(dataset, tool, operation, "wall_s")
    if value is None:
        return "-"
    limit = _LIMITS.get(operation.partition("-")[0], "")
    ratios = []
    for other in ("dataver", limit):
        if not other:
            continue
        base = figures.get(dataset, other, operation, "wall_s")
        ratios.append("-" if base is None or other == tool else f"{value / base:.2f}x")
    return f"{value:.2f} ({', '.join(ratios)})" if set(ratios) != {"-"} else f"{value:.2f}"


def _widest(figures: Figures, dataset: str, tool: str) -> str:
    spreads = [figures.spread(dataset, tool, operation) for operation in figures.operations(dataset)]
    known = [spread for spread in spreads if spread]
    return f"{max(known):.1f}x" if known else "-"


def _costs(figures: Figures, dataset: str) -> str:
    adds = [name for name in figures.operations(dataset) if name.startswith("add-v")]
    last = adds[-1]
    head = ["tool", "CPU s add v1", "CPU s fetch v1", "peak MB add v1", "peak MB fetch v1", "tree MB add v1"]
    head += [
        "stored v1 MB",
        "v2 adds MB",
        f"stored {last[4:]} MB",
        "on disk MB",
        "objects v1",
        f"objects {last[4:]}",
    ]

    def row(tool: str) -> list[str]:
        def get(operation: str, field: str) -> float | None:
            return figures.get(dataset, tool, operation, field)

        one, two = get("add-v1", "stored_bytes"), get("add-v2", "stored_bytes")
        return [
            tool,
            _cpu(get, "add-v1"),
            _cpu(get, "fetch-v1"),
            _millions(get("add-v1", "rss_largest"), 0),
            _millions(get("fetch-v1", "rss_largest"), 0),
            _millions(get("add-v1", "rss_tree"), 0),
            _millions(one),
            _millions(two - one if one is not None and two is not None else None),
            _millions(get(last, "stored_bytes")),
            _millions(get(last, "stored_on_disk")),
            _count(get("add-v1", "stored_objects")),
            _count(get(last, "stored_objects")),
        ]

    return _table(head, [row(tool) for tool in figures.tools(dataset)])


def _troubles(figures: Figures) -> str:
    lines = [f"- {row.tool}: {row.missing}" for row in figures.results if row.missing]
    lines += [
        f"- {row.tool}, {row.dataset}, {row.operation}, run {row.run}: {row.error}"
        for row in figures.results
        if row.error
    ]
    return "## Missing and failed\n\n" + "\n".join(dict.fromkeys(lines)) if lines else ""


def _cpu(get: Callable[[str, str], float | None], operation: str) -> str:
    user, system = get(operation, "user_s"), get(operation, "sys_s")
    return "-" if user is None or system is None else f"{user + system:.2f}"


def _millions(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value / _MB:,.{digits}f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables of result files, and draw them where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines")
    parser.add_argument("--plots", type=Path, help="folder for the drawings (SVG); needs matplotlib")
    args = parser.parse_args()
    results = read_results(args.files)
    print(markdown(results))
    if args.plots:
        from benchmarks.plots import draw

        draw(Figures(results), args.plots)


if __name__ == "__main__":
    main()
