"""Makes Markdown tables from JSON lines: `python -m benchmarks.report FILE… [--out FILE] [--plots FOLDER]`.

Every figure is the median of its rounds. `2.7x` is the ratio to dataver in the same rounds: below 1 is faster
or smaller than dataver. `--readme docs/performance.md` writes the short form between the marks in that file,
so that what it says is what was measured.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.results import Result, read_results
from benchmarks.targets import Target, read_million, targets
from benchmarks.tools import TOOLS

__all__ = ["markdown"]

_MB = 1e6
_MAIN = ("add-v1", "add-v2", "add-next", "add-again", "fetch-v1", "fetch-v2", "verify", "diff", "list")
_GRIDS = {
    "wall_s": "Seconds (least to most; ratio to dataver)",
    "cpu_s": "CPU seconds, user and system, of all processes",
    "rss_tree": "Peak MB of all processes together",
    "requests": "Requests: files of the repository opened, put into place or removed, folders listed",
}


def markdown(results: Iterable[Result], million: dict[str, float] | None = None) -> str:
    """Return all tables; `million` are the seconds that `million.py` measured."""
    figures = Figures(results)
    small = any(row.scale != 1 for row in figures.results if row.dataset in figures.datasets())
    parts = [_head(figures), _targets(targets(figures, million or {}), small=small), _overview(figures)]
    for dataset in figures.datasets():
        parts += [_title(figures, dataset), *_grids(figures, dataset), _stored(figures, dataset)]
    parts += [_flat(figures), _troubles(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def name_operation(operation: str, last: int = 2) -> str:
    """Return an operation's name as a person reads it."""
    return f"add v2 to v{last}, each" if operation == "add-next" else operation.replace("-", " ")


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    named = ", ".join(f"{tool} {versions[tool]}" for tool in TOOLS if tool in versions)
    return "\n\n".join([*lines, f"Versions: {named}."])


def _targets(found: list[Target], *, small: bool) -> str:
    if not found:
        return ""
    met = sum(target.met for target in found)
    rows = [[one.what, one.where, one.aim, one.value, "met" if one.met else "**missed**"] for one in found]
    title = f"## Targets: {met} of {len(found)} met"
    if small:
        title += "\n\nThe targets are for scale 1; these figures are not."
    return f"{title}\n\n{table(['target', 'data set', 'aim', 'measured', ''], rows)}"


def _overview(figures: Figures) -> str:
    tools = [tool for tool in TOOLS if any(tool in figures.tools(name) for name in figures.datasets())]
    rows = []
    for dataset in figures.datasets():
        if figures.peak(dataset, "dataver") is None:
            continue
        here = figures.operations(dataset)
        for operation in [name for name in _MAIN if name in here]:
            cells = [_cell(figures, dataset, tool, operation, "wall_s") for tool in tools]
            rows.append([dataset, f"{name_operation(operation, figures.last(dataset))}, s", *cells])
        rows.append([dataset, "stored at the end, MB", *(_end(figures, dataset, tool) for tool in tools)])
        peaks = [figures.peak(dataset, tool) for tool in tools]
        rows.append([dataset, "peak memory, MB", *(_millions(peak, 0) for peak in peaks)])
    return "## All of it\n\n" + table(["data set", "", *tools], rows)


def _end(figures: Figures, dataset: str, tool: str) -> str:
    stored, ours = figures.stored(dataset, tool), figures.stored(dataset, "dataver")
    if stored is None:
        return "-"
    ratio = f" {stored[1] / ours[1]:.2f}x" if ours and tool != "dataver" else ""
    return _millions(stored[1]) + ratio


def _title(figures: Figures, dataset: str) -> str:
    rows = [row for row in figures.results if row.dataset == dataset and row.operation == "add-v1"]
    first = next(row for row in rows if row.source_bytes)
    runs = {tool: len({row.run for row in rows if row.tool == tool and row.wall_s}) for tool in TOOLS}
    counts = {
        count: [tool for tool in TOOLS if runs[tool] == count] for count in sorted(set(runs.values()) - {0})
    }
    told = "; ".join(f"{count} rounds: {', '.join(names)}" for count, names in reversed(counts.items()))
    return (
        f"## {dataset}\n\nv1: {_millions(first.source_bytes)} MB in {first.source_files:,} files, scale "
        f"{first.scale:g}. {told}."
    )


def _grids(figures: Figures, dataset: str) -> list[str]:
    parts = []
    for field, title in _GRIDS.items():
        tools = figures.tools(dataset)
        operations = [
            name
            for name in figures.operations(dataset)
            if any(figures.get(dataset, tool, name, field) is not None for tool in tools)
        ]
        if field == "requests":
            operations = [name for name in operations if name != "start"]
        if not operations:
            continue
        head = ["tool", *(name_operation(name, figures.last(dataset)) for name in operations)]
        rows = [
            [tool, *(_cell(figures, dataset, tool, name, field) for name in operations)] for tool in tools
        ]
        parts.append(f"{title}.\n\n{table(head, rows)}")
    return parts


def _cell(figures: Figures, dataset: str, tool: str, operation: str, field: str) -> str:
    value = figures.get(dataset, tool, operation, field)
    if value is None:
        return figures.excuse(dataset, tool, operation)
    if field == "requests":
        return f"{value:,.0f}"
    if field == "rss_tree":
        return _millions(value, 0)
    if field == "cpu_s":
        return f"{value:.2f}"
    bounds = figures.bounds(dataset, tool, operation, field)
    ratio = None if tool == "dataver" else figures.ratio(dataset, tool, "dataver", operation)
    parts = [f"{value:.2f}"]
    parts += [f"({bounds[0]:.2f}-{bounds[1]:.2f})"] if bounds else []
    parts += [f"{ratio:.2f}x"] if ratio is not None else []
    return " ".join(parts)


def _stored(figures: Figures, dataset: str) -> str:
    last = figures.last(dataset)
    upon = "v2 adds MB" if last == 2 else f"v2 to v{last} add MB"
    head = ["tool", "v1 MB", upon, f"v{last} MB", "on disk MB", "files v1", f"files v{last}"]
    rows = []
    for tool in figures.tools(dataset):
        size = figures.stored(dataset, tool)
        disk = figures.stored(dataset, tool, "stored_on_disk")
        files = figures.stored(dataset, tool, "stored_objects")
        if size and disk and files:
            numbers = [
                _millions(size[0]),
                _millions(size[1] - size[0]),
                _millions(size[1]),
                _millions(disk[1]),
            ]
            rows.append([tool, *numbers, f"{files[0]:,.0f}", f"{files[1]:,.0f}"])
        else:
            rows.append([tool, *["-"] * 6])
    return f"Stored.\n\n{table(head, rows)}"


def _flat(figures: Figures) -> str:
    sizes = dict.fromkeys(row.dataset for row in figures.results if (row.dataset or "").startswith("flat"))
    rows = []
    for dataset in filter(None, sizes):
        for operation in figures.operations(dataset):
            one = figures.rows(dataset, "dataver", operation)[0]
            peak, wall = (
                figures.get(dataset, "dataver", operation, field) for field in ("rss_tree", "wall_s")
            )
            told = [_millions(one.source_bytes, 0), operation.replace("-", " "), _millions(peak, 0)]
            rows.append([*told, "-" if wall is None else f"{wall:.1f}"])
    if not rows:
        return ""
    return "## Flat memory: one file, dataver\n\n" + table(["file MB", "", "peak MB", "seconds"], rows)


def _troubles(figures: Figures) -> str:
    present = {row.tool for row in figures.results if row.version}
    lines = [
        f"- {row.tool}: {row.missing}" for row in figures.results if row.missing and row.tool not in present
    ]
    lines += [
        f"- {row.tool}, {row.dataset}, {row.operation}, run {row.run}: {row.error}"
        for row in figures.results
        if row.error
    ]
    return "## Missing, failed and stopped\n\n" + "\n".join(dict.fromkeys(lines)) if lines else ""


def _millions(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value / _MB:,.{digits}f}"


def main() -> None:
    """Print the tables of result files, and draw them where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines")
    parser.add_argument("--million", type=Path, help="JSON lines of benchmarks.million")
    parser.add_argument("--out", type=Path, help="Markdown file to write instead of printing")
    parser.add_argument("--plots", type=Path, help="folder for the drawings (SVG); needs matplotlib")
    parser.add_argument("--readme", type=Path, help="file with the marks of `short.py`, to be filled anew")
    args = parser.parse_args()
    results = read_results(args.files)
    million = read_million(args.million) if args.million else {}
    write: Callable[[str], object] = args.out.write_text if args.out else print
    write(markdown(results, million))
    figures = Figures(results)
    if args.plots:
        from benchmarks.plots import draw

        draw(figures, args.plots)
    if args.readme:
        from benchmarks.short import fill

        fill(args.readme, figures)


if __name__ == "__main__":
    main()
