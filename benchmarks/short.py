"""The short form of the results, for docs/performance.md: a table between two marks, made from results."""

from pathlib import Path

from benchmarks.figures import Figures

__all__ = ["BEGIN", "END", "fill", "short_form"]

BEGIN = "<!-- figures: written by `python -m benchmarks.report`, do not edit -->"
END = "<!-- end of figures -->"
_SETS = {
    "table": "4 CSV files, 512 MB",
    "images": "8,000 images, 559 MB",
    "tiny": "50,000 tiny files",
    "parquet": "8 Parquet files, 551 MB",
    "tensor": "a tensor, 1 GB",
    "source": "10 releases of Django",
    "checkpoints": "10 checkpoints, 93 MB each",
}


def short_form(figures: Figures) -> str:
    """Return a table with a row for each data set: dataver, the best of its peers, and the limit."""
    head = ["seconds", "add", "add the next version", "fetch", "MB stored in the end"]
    rows = []
    for dataset in figures.datasets():
        times = [("add-v1", "tar"), (figures.next_add(dataset), "tar"), ("fetch-v1", "cp")]
        cells = [_time(figures, dataset, operation, limit) for operation, limit in times]
        rows.append([_SETS.get(dataset, dataset), *cells, _size(figures, dataset)])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(path: Path, figures: Figures) -> None:
    """Write the short form between the marks of a file.

    Raises:
        ValueError: the file does not have both marks, once and in order.
    """
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no place for the figures; put in the lines {BEGIN!r} and {END!r}")
    path.write_text(f"{head}{BEGIN}\n\n{short_form(figures)}\n\n{END}{tail}")


def _time(figures: Figures, dataset: str, operation: str, limit: str) -> str:
    times = {tool: figures.get(dataset, tool, operation, "wall_s") for tool in figures.tools(dataset)}
    known = {tool: time for tool, time in times.items() if time is not None}
    told = _first(figures, dataset, known, 2)
    return f"{told}, {limit} {known[limit]:.2f}" if limit in known else told


def _size(figures: Figures, dataset: str) -> str:
    tools = figures.tools(dataset)
    sizes = {tool: stored[1] / 1e6 for tool in tools if (stored := figures.stored(dataset, tool))}
    return _first(figures, dataset, sizes, 1)


def _first(figures: Figures, dataset: str, values: dict[str, float], digits: int) -> str:
    """Return dataver's value and the best peer's, the smaller one in bold."""
    peers = [tool for tool in figures.peers(dataset) if tool in values]
    ours = values.get("dataver")
    if ours is None:
        return "-"
    if not peers:
        return f"{ours:,.{digits}f}"
    best = min(peers, key=values.__getitem__)
    mine, theirs = f"{ours:,.{digits}f}", f"{best} {values[best]:,.{digits}f}"
    return f"**{mine}**, {theirs}" if ours <= values[best] else f"{mine}, **{theirs}**"
