"""Medians of results, by data set, tool and operation; what the tables, the targets and the drawings show.

Where a data set has more than two versions, `add-next` stands for adding any of them but the first: the
median over versions and rounds. A ratio compares the rounds that both tools took part in, so a tool that was
measured once is compared with what the other did in that same round.
"""

from collections.abc import Iterable
from statistics import median

from benchmarks.results import Result
from benchmarks.tools import TOOLS

__all__ = ["LIMITS", "Figures"]

LIMITS = ("cp", "tar")  # no versions, no deduplication: what the machine can do, not peers


class Figures:
    """Results by data set, tool and operation, and the medians of any field of them."""

    def __init__(self, results: Iterable[Result]) -> None:
        self.results = list(results)
        self._many = {row.dataset for row in self.results if row.operation == "add-v3"}
        self._by_key: dict[tuple[str, str, str], list[Result]] = {}
        for row in self.results:
            if row.operation and row.dataset:
                for operation in {row.operation, self._pooled(row)}:
                    self._by_key.setdefault((row.dataset, row.tool, operation), []).append(row)

    def datasets(self) -> list[str]:
        """Return the data sets in the order they were measured, without those of `flat.py`."""
        names = dict.fromkeys(dataset for dataset, _, _ in self._by_key)
        return [name for name in names if not name.startswith("flat")]

    def tools(self, dataset: str) -> list[str]:
        """Return the tools measured on a data set, in the order of all tables."""
        here = {tool for name, tool, _ in self._by_key if name == dataset}
        return [tool for tool in TOOLS if tool in here]

    def peers(self, dataset: str) -> list[str]:
        """Return the tools measured on a data set that are neither dataver nor a limit."""
        return [tool for tool in self.tools(dataset) if tool != "dataver" and tool not in LIMITS]

    def operations(self, dataset: str) -> list[str]:
        """Return the operations measured on a data set, in the order they were done."""
        names = dict.fromkeys(
            self._pooled(row) for row in self.results if row.dataset == dataset and row.operation
        )
        return [name for name in names if name != "prepare"]

    def next_add(self, dataset: str) -> str:
        """Return the operation that adds upon v1."""
        return "add-next" if dataset in self._many else "add-v2"

    def last(self, dataset: str) -> int:
        """Return the number of the last version."""
        adds = [name for set_, _, name in self._by_key if set_ == dataset and name.startswith("add-v")]
        return max(int(name[5:]) for name in adds)

    def rows(self, dataset: str, tool: str, operation: str) -> list[Result]:
        """Return what was measured of an operation, failures included."""
        return self._by_key.get((dataset, tool, operation), [])

    def get(self, dataset: str, tool: str, operation: str, field: str) -> float | None:
        """Return the median of a field, or None where it was not measured."""
        values = self._values(dataset, tool, operation, field)
        return median(value for _, value in values) if values else None

    def bounds(self, dataset: str, tool: str, operation: str, field: str) -> tuple[float, float] | None:
        """Return the least and the most of a field; None where there is only one value."""
        values = [value for _, value in self._values(dataset, tool, operation, field)]
        return (min(values), max(values)) if len(values) > 1 else None

    def ratio(
        self, dataset: str, tool: str, base: str, operation: str, *, beside: str | None = None
    ) -> float | None:
        """Return a tool's median time over another's, of the rounds that both took part in.

        With `beside`, that is the other's operation; else both did the same.
        """
        ours = self._values(dataset, tool, operation, "wall_s")
        theirs = self._values(dataset, base, beside or operation, "wall_s")
        shared = {run for run, _ in ours} & {run for run, _ in theirs}
        bottom = [value for run, value in theirs if run in shared]
        if not shared or not median(bottom):
            return None
        return median(value for run, value in ours if run in shared) / median(bottom)

    def stored(self, dataset: str, tool: str, field: str = "stored_bytes") -> tuple[float, float] | None:
        """Return what a tool stored after the first and after the last version."""
        one = self.get(dataset, tool, "add-v1", field)
        last = self.get(dataset, tool, f"add-v{self.last(dataset)}", field)
        return None if one is None or last is None else (one, last)

    def peak(self, dataset: str, tool: str) -> float | None:
        """Return the most memory that any operation of a tool took, in any round."""
        peaks = [row.rss_tree for row in self.results if (row.dataset, row.tool) == (dataset, tool)]
        return max((peak for peak in peaks if peak), default=None)

    def excuse(self, dataset: str, tool: str, operation: str) -> str:
        """Return why there is no figure: `n/a`, `> 600 s`, `failed`, or a dash where nothing was measured."""
        rows = self.rows(dataset, tool, operation)
        for row in rows:
            if row.stopped_s:
                return f"> {row.stopped_s:.0f} s"
        if any(row.error for row in rows):
            return "failed"
        return "n/a" if any(row.lacking for row in rows) else "-"

    def _pooled(self, row: Result) -> str:
        name = row.operation or ""
        later = name.startswith("add-v") and name != "add-v1"
        return "add-next" if later and row.dataset in self._many else name

    def _values(self, dataset: str, tool: str, operation: str, field: str) -> list[tuple[int | None, float]]:
        found = [
            (row.run, getattr(row, field)) for row in self.rows(dataset, tool, operation) if not row.error
        ]
        return [(run, value) for run, value in found if value is not None]
