"""Items in portions, each of a bounded size and number."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["portions"]

_T = TypeVar("_T")


def portions(
    items: Iterable[_T], most: int, size_of: Callable[[_T], int], number: int = sys.maxsize
) -> Iterator[list[_T]]:
    """Yield items in lists, in their order; an item that is too large is alone in its list.

    Args:
        items: the items.
        most: the largest sum of the sizes in a list.
        size_of: returns the size of an item.
        number: the largest number of items in a list.
    """
    portion, size = list[_T](), 0
    for item in items:
        more = size_of(item)
        if portion and (size + more > most or len(portion) == number):
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += more
    if portion:
        yield portion
