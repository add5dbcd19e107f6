"""Where the boxes of a treemap lie."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Any

__all__ = ["squares"]

Box = tuple[float, float, float, float]
"""Left, top, width and height."""


def squares(items: Iterable[dict[str, Any]], box: Sequence[float]) -> Iterator[tuple[dict[str, Any], Box]]:
    """Yield items with their boxes in a treemap: left, top, width and height. Their areas are as `size`.

    M. Bruls, K. Huizing, J. van Wijk: Squarified Treemaps (2000).
    """
    left, top, width, height = box
    rest = sorted((each for each in items if each["size"]), key=lambda each: -each["size"])
    while rest and min(width, height) > 0:
        scale, side, best, count = width * height / sum(each["size"] for each in rest), 0.0, inf, 0
        for total in accumulate(each["size"] * scale for each in rest):
            thickness = total / min(width, height)
            largest, smallest = rest[0]["size"] * scale, rest[count]["size"] * scale
            worst = max(largest / thickness**2, thickness**2 / smallest)
            if worst > best:
                break
            side, best, count = thickness, worst, count + 1
        at = 0.0
        for each in rest[:count]:
            length = each["size"] * scale / side
            yield each, (left, top + at, side, length) if width >= height else (left + at, top, length, side)
            at += length
        if width >= height:  # a column at the left, else a row at the top
            left, width = left + side, width - side
        else:
            top, height = top + side, height - side
        rest = rest[count:]
