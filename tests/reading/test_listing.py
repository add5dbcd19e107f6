"""Looking around in large versions costs the blocks on the way, not the version."""

from collections.abc import Iterator

import pytest

from dataver.errors import PathNotFound
from dataver.formats.block import Inner, Leaf, parse_block
from dataver.formats.entry import Entry, Extent, Kind
from dataver.hashing import digest
from dataver.reading.directory_view import Folders
from dataver.tree import Tree, build

CONTENT = digest(b"content")
EXTENT = Extent(digest(b"pack"), 8, 100, 0, 7)


class Counted:
    """A tree in memory that counts the blocks that are loaded."""

    def __init__(self, paths: Iterator[str]) -> None:
        blocks: dict[bytes, bytes] = {}
        root = build(
            (Entry(path, Kind.FILE, 7, CONTENT, "", (EXTENT,)) for path in paths),
            lambda block: blocks.setdefault(block.digest, block.data),
        )
        self.count = len(blocks)
        self.loaded: set[bytes] = set()

        def load(name: bytes) -> Leaf | Inner:
            self.loaded.add(name)
            return parse_block(blocks[name], name, blocks.__getitem__)

        self.folders = Folders(Tree(root.digest, load), "big/set@1.0.0")

    def cost(self) -> int:
        """Return how many blocks were loaded since the last time."""
        loaded, self.loaded = len(self.loaded), set()
        return loaded


@pytest.mark.parametrize(
    ("count", "wide"), [(50_000, 100), pytest.param(1_000_000, 1_000, marks=pytest.mark.slow)]
)
def test_a_folder_costs_a_handful_of_blocks(count: int, wide: int) -> None:
    """Its list, a file's line, a file that is not there: three or four blocks of hundreds."""
    tree = Counted(f"train/{n // wide:05d}/file-{n % wide:04d}.jpg" for n in range(count))
    assert tree.count > count / 5_000
    middle = f"train/{count // wide // 2:05d}"
    assert len(tree.folders.list(middle)) == wide
    assert tree.cost() <= 5
    assert tree.folders.info(f"{middle}/file-0007.jpg").size == 7
    assert tree.folders.entry(f"{middle}/file-0008.jpg").digest == CONTENT
    assert tree.cost() <= 4
    assert tree.folders.info(middle).type == "directory"
    assert tree.cost() <= 5
    with pytest.raises(PathNotFound):
        tree.folders.info(f"{middle}/gone.jpg")
    assert tree.cost() <= 5
    assert [info.path for info in tree.folders.list()] == ["train"]
    assert tree.cost() <= 8
    assert sum(1 for _ in tree.folders.walk(middle)) == wide
    assert tree.cost() <= 6


def test_a_flat_folder_costs_its_own_leaves() -> None:
    """A folder beside a huge one is listed without it."""
    names = [f"a/{n:06d}" for n in range(40_000)] + ["b/one", "b/two", "c"]
    tree = Counted(iter(names))
    assert [info.path for info in tree.folders.list("b")] == ["b/one", "b/two"]
    assert tree.cost() <= 4
    assert [info.path for info in tree.folders.list()] == ["a", "b", "c"]
    assert tree.cost() <= 6
