"""Did two runs train on the same data, and if not, what differs.

Same means: the same content (the tree's digest) and the same part of it, under whatever name. What is left is
paired by dataset, and the difference of two versions is that of their trees.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from dataver.formats.jsontext import encode_json

if TYPE_CHECKING:
    from dataver.lineage.questions.answers import Link, RunAnswer

__all__ = ["Comparison", "Pair", "compare_inputs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """What differs: a dataset as the first run read it and as the second did; None where one did not."""

    dataset: str
    first: Link | None
    second: Link | None

    @property
    def same_content(self) -> bool:
        """Whether both read the same version, and only the part of it differs."""
        return self.first is not None and self.second is not None and self.first.tree == self.second.tree


@dataclass(frozen=True, slots=True)
class Comparison:
    """The inputs of two runs.

    Attributes:
        first: the one run.
        second: the other.
        common: what both read: links of the first run.
        pairs: what differs, by dataset.
    """

    first: RunAnswer
    second: RunAnswer
    common: list[Link]
    pairs: list[Pair]

    @property
    def same(self) -> bool:
        """Whether they read the same data."""
        return not self.pairs


def compare_inputs(first: RunAnswer, second: RunAnswer) -> Comparison:
    """Return what two runs read in common and what differs."""
    shared = Counter(map(_identity, first.inputs)) & Counter(map(_identity, second.inputs))
    common, left = _split(first.inputs, shared)
    _, right = _split(second.inputs, shared)
    by_dataset: defaultdict[str, tuple[list[Link], list[Link]]] = defaultdict(lambda: ([], []))
    for side, links in enumerate((left, right)):
        for link in links:
            by_dataset[link.dataset][side].append(link)
    pairs = [Pair(name, *each) for name, sides in sorted(by_dataset.items()) for each in zip_longest(*sides)]
    return Comparison(first, second, common, pairs)


def _identity(link: Link) -> tuple[str, bytes]:
    return link.tree, encode_json(link.subset.values(), "a subset")


def _split(links: list[Link], shared: Counter[tuple[str, bytes]]) -> tuple[list[Link], list[Link]]:
    """Return the links that are shared, each once a count, and the others."""
    left, common, others = Counter(shared), [], []
    for link in links:
        identity = _identity(link)
        if left[identity]:
            left[identity] -= 1
            common.append(link)
        else:
            others.append(link)
    return common, others
