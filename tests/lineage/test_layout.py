"""Places of the nodes of a graph."""

import random
import time

from dataver.lineage.queries.layout import place


def test_effects_are_right_of_causes_and_nothing_overlaps():
    """Any acyclic graph, with bends and without."""
    chance = random.Random(3)
    for bends in (0, 12):
        edges = [tuple(sorted(chance.sample(range(40), 2))) for _ in range(80)]
        found = place(range(40), edges, bends=bends)
        assert all(found.places[source][0] < found.places[target][0] for source, target in edges)
        assert len(set(found.places.values())) == len(found.places)
        assert [(route[0], route[-1]) for route in found.routes] == edges


def test_circles_and_nodes_alone_have_places():
    """A run that produced a version and read it again, and a node with itself."""
    found = place("abcd", [("a", "b"), ("b", "a"), ("c", "c")])
    assert found.places.keys() == set("abcd")
    assert place([], []).places == {}


def test_a_tall_layer_gets_several_columns():
    """The drawing has at most so many rows."""
    found = place(range(101), [(0, node) for node in range(1, 101)], tall=30)
    assert {column for column, _ in found.places.values()} == set(range(5))
    assert max(row for _, row in found.places.values()) <= 29


def test_time_is_linear():
    """Ten times the nodes in a chain, which has as many layers, take about ten times as long."""

    def seconds(size: int) -> float:
        nodes = list(range(size))
        began = time.process_time()
        place(nodes, [(node, node + 1) for node in nodes[:-1]])
        return time.process_time() - began

    assert min(seconds(10_000) for _ in range(3)) < 60 * min(seconds(1_000) for _ in range(3))
