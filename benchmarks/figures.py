"""Medians of results, by data set, tool and operation; what the tables and the drawings show."""

from collections.abc import Iterable
from statistics import median

from benchmarks.results import Result
from benchmarks.tools import TOOLS

__all__ = ["Figures"]


class Figures:
    """Results by data set, tool and operation, and the medians of any field of them."""

    def __init__(self, results: Iterable[Result]) -> None:
        self.results = list(results)
        self._by_key: dict[tuple[str, str, str], list[Result]] = {}
        for result in self.results:
            if result.operation and result.dataset and not result.error:
                key = (result.dataset, result.tool, result.operation)
                self._by_key.setdefault(key, []).append(result)

    def datasets(self) -> list[str]:
        """Return the data sets in the order they were measured."""
        return list(dict.fromkeys(dataset for dataset, _, _ in self._by_key))

    def tools(self, dataset: str) -> list[str]:
        """Return the tools measured on a data set, in the order of all tables."""
        here = {tool for name, tool, _ in self._by_key if name == dataset}
        return [tool for tool in TOOLS if tool in here]

    def operations(self, dataset: str) -> list[str]:
        """Return the operations measured on a data set, in the order they were done."""
        return list(dict.fromkeys(operation for name, _, operation in self._by_key if name == dataset))

    def get(self, dataset: str, tool: str, operation: str, field: str) -> float | None:
        """Return the median of a field, or None where it was not measured."""
        rows = self._by_key.get((dataset, tool, operation), [])
        values = [value for row in rows if (value := getattr(row, field)) is not None]
        return median(values) if values else None

    def spread(self, dataset: str, tool: str, operation: str) -> float | None:
        """Return the slowest run as a multiple of the fastest."""
        times = [row.wall_s for row in self._by_key.get((dataset, tool, operation), []) if row.wall_s]
        return max(times) / min(times) if times else None
