"""Drawing of history as a graph, beside the text of each node.

Children come before their parents. A column is a line of history whose next node is not drawn yet. A node
with several parents opens columns, and columns with the same next node are joined before it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["children_first", "draw"]


def children_first(parents: Mapping[str, Sequence[str]], age: Callable[[str], float]) -> list[str]:
    """Return the nodes in an order in which each precedes its parents, the newest first where possible."""
    from heapq import heapify, heappop, heappush

    waiting = dict.fromkeys(parents, 0)
    for each in parents.values():
        for parent in set(each) & parents.keys():
            waiting[parent] += 1
    rank = {node: -n for n, node in enumerate(sorted(parents, key=lambda node: (age(node), node)))}
    ready = [(rank[node], node) for node, left in waiting.items() if not left]
    heapify(ready)
    order = []
    while ready:
        _, node = heappop(ready)
        order.append(node)
        for parent in set(parents[node]) & parents.keys():
            waiting[parent] -= 1
            if not waiting[parent]:
                heappush(ready, (rank[parent], parent))
    return order


def draw(
    order: Iterable[str], parents: Mapping[str, Sequence[str]], text: Callable[[str], Sequence[str]]
) -> Iterator[str]:
    """Yield the lines of the graph: `*` before a node's first line, `|` for every other open column."""
    columns: list[str] = []
    for node in order:
        if node not in columns:
            columns.append(node)
        yield from _join(columns, node)
        here = columns.index(node)
        first, *rest = text(node)
        yield _bars(columns, here) + first
        known = list(dict.fromkeys(parent for parent in parents[node] if parent in parents))
        columns[here : here + 1] = known
        if len(known) > 1:
            yield "| " * here + "|" + "\\ " * (len(known) - 1) + " |" * (len(columns) - here - len(known))
        yield from (_bars(columns) + ("  " if not columns else "") + line for line in rest)
        if len(known) == 0 and here < len(columns):
            yield "| " * here + "/ " * (len(columns) - here)


def _join(columns: list[str], node: str) -> Iterator[str]:
    """Join all columns whose next node is `node` into the first of them."""
    while columns.count(node) > 1:
        last = len(columns) - 1 - columns[::-1].index(node)
        del columns[last]
        yield "| " * (last - 1) + "|/" + " /" * (len(columns) - last)


def _bars(columns: Sequence[str], here: int | None = None) -> str:
    return "".join("* " if number == here else "| " for number in range(len(columns)))
