"""New names that some file systems cannot hold: found at the cost of the folders they are in."""

import pytest

from dataver.formats.entry import Entry, Kind
from dataver.hashing import digest
from dataver.tree import Tree, build, new_name_problems


def tree_of(*paths):
    blocks = {}

    def save(block):
        from dataver.formats.block import parse_block

        blocks[block.digest] = parse_block(block.data, block.digest)

    entries = [Entry(path, Kind.FILE, 0, digest(b""), "", ()) for path in sorted(paths)]
    root = build(entries, save)
    return Tree(root.digest, blocks.__getitem__)


@pytest.mark.parametrize(
    ("before", "added", "found"),
    [
        (["a/x"], ["a/y"], []),
        (["a/x"], ["a/X"], ["a/x"]),
        (["Data/x"], ["data/y"], ["data"]),
        (["a/x"], ["b/con.txt"], ["b/con.txt"]),
        (["a/con.txt"], ["a/y"], []),
        (["deep/er/x"], ["deep/ER/y"], ["deep/er"]),
        ([], ["caf\u00e9", "cafe\u0301"], ["caf\u00e9"]),
    ],
)
def test_only_new_names_and_their_twins_are_reported(before, added, found):
    """Case, Unicode form and reserved names; what stood there before is not repeated."""
    old, new = tree_of(*before), tree_of(*before, *added)
    assert [path for path, _ in new_name_problems(new, old, added)] == found
