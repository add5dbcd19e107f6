"""Draws the figures as SVG, one drawing a data set: seconds by operation, bytes stored. Needs matplotlib."""

import sys
from pathlib import Path

from benchmarks.figures import Figures

__all__ = ["draw"]

_OPERATIONS = ("add-v1", "add-v2", "add-next", "add-again", "fetch-v1", "fetch-v2", "verify")
_OURS, _PEERS, _LIMITS = "#1f6feb", "#9aa4b2", "#d9b45b"


def draw(figures: Figures, folder: Path) -> None:
    """Write `<data set>.svg` for each data set, or say that matplotlib is not here."""
    try:
        import matplotlib as mpl

        mpl.use("svg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("matplotlib is not installed: no plots", file=sys.stderr)
        return
    mpl.rcParams["svg.hashsalt"] = "dataver"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    folder.mkdir(parents=True, exist_ok=True)
    for dataset in figures.datasets():
        tools = figures.tools(dataset)[::-1]
        panels = [name for name in _OPERATIONS if name in figures.operations(dataset)] + ["stored"]
        drawing, axes = plt.subplots(
            1,
            len(panels),
            figsize=(2.6 * len(panels), 0.32 * len(tools) + 1.2),
            sharey=True,
            layout="constrained",
        )
        for panel, axis in zip(panels, axes, strict=True):
            values = [_value(figures, dataset, tool, panel) for tool in tools]
            bars = axis.barh(tools, [value or 0 for value in values], color=[_colour(tool) for tool in tools])
            axis.bar_label(
                bars,
                [_label(figures, dataset, *pair, panel) for pair in zip(tools, values, strict=True)],
                padding=3,
                fontsize=8,
            )
            axis.set_title(
                "MB stored at the end" if panel == "stored" else f"{panel.replace('-', ' ')}, s", fontsize=9
            )
            axis.set_xlim(0, 1.25 * max([value for value in values if value] or [1]))
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        drawing.suptitle(dataset, fontsize=11)
        drawing.savefig(folder / f"{dataset}.svg", metadata={"Date": None})
        plt.close(drawing)


def _value(figures: Figures, dataset: str, tool: str, panel: str) -> float | None:
    if panel != "stored":
        return figures.get(dataset, tool, panel, "wall_s")
    last = [name for name in figures.operations(dataset) if name.startswith("add-v")][-1]
    stored = figures.get(dataset, tool, last, "stored_bytes")
    return None if stored is None else stored / 1e6


def _label(figures: Figures, dataset: str, tool: str, value: float | None, panel: str) -> str:
    return figures.excuse(dataset, tool, panel) if value is None else f"{value:.3g}"


def _colour(tool: str) -> str:
    return _OURS if tool == "dataver" else _LIMITS if tool in {"cp", "tar"} else _PEERS
