"""What a tree of a million entries costs: `python -m benchmarks.tree [entries]`, one JSON line a result.

Blocks are kept in memory and parsed anew on every load, so the seconds are those of the tree and its formats
alone, and `blocks_loaded` is what a reader without any cache would ask its store for.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dataver.formats.block import Block, Encoded, parse_block
from dataver.formats.entry import Entry, Extent, Kind
from dataver.hashing import digest
from dataver.tree import Tree, build, diff, edit, merge

Answer = TypeVar("Answer")

FRAME = 128  # files of 1 KB that share a frame
PACK = digest(b"pack")


class Blocks:
    """Blocks by digest, in memory, and how many were read and written."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.loaded = self.saved = self.saved_bytes = 0

    def load(self, name: bytes) -> Block:
        self.loaded += 1
        return parse_block(self.objects[name], name, self.objects.__getitem__)

    def save(self, block: Encoded) -> None:
        self.saved += 1
        self.saved_bytes += len(block.data)
        self.objects[block.digest] = block.data

    def measure(self, operation: str, run: Callable[[], Answer]) -> Answer:
        """Run an operation and print what it cost."""
        self.loaded = self.saved = self.saved_bytes = 0
        began = time.perf_counter()
        answer = run()
        result = {
            "operation": operation,
            "seconds": round(time.perf_counter() - began, 4),
            "blocks_loaded": self.loaded,
            "blocks_saved": self.saved,
            "bytes_saved": self.saved_bytes,
            "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(result), flush=True)
        return answer


def path_of(number: int) -> str:
    """Return the path of a file: 1,000 files a folder."""
    return f"images/train/{number // 1000:06}/{number:09}.jpg"


def entry_of(number: int, version: int = 1) -> Entry:
    """Return the entry of a file of about a kilobyte, as a folder of such files is packed."""
    extent = Extent(PACK, 8 + number // FRAME * 100_000, 100_000, number % FRAME * 1024, 1000)
    return Entry(path_of(number), Kind.FILE, 1000, digest(b"%d %d" % (number, version)), "", (extent,))


def entries(count: int) -> Iterator[Entry]:
    """Yield the entries of the first version."""
    return map(entry_of, range(count))


def main(count: int) -> None:
    """Measure every operation once, on trees of `count` entries."""
    blocks = Blocks()
    middle, few = count // 2, count // 1000
    blocks.measure("make the entries themselves", lambda: sum(1 for _ in entries(count)))
    old = blocks.measure("build", lambda: build(entries(count), blocks.save)).digest

    def change(root: bytes, numbers: range, version: int = 2) -> bytes:
        wanted = [(path_of(number), entry_of(number, version)) for number in numbers]
        return edit(root, wanted, blocks.load, blocks.save, lambda _: True).digest

    one = blocks.measure("edit 1 file", lambda: change(old, range(middle, middle + 1)))
    ten = blocks.measure("edit 10 files of a folder", lambda: change(old, range(middle, middle + 10)))
    many = blocks.measure("edit 0.1 % of all files, spread out", lambda: change(old, range(0, count, 1000)))
    blocks.measure("look up 1 path", lambda: Tree(old, blocks.load).get(path_of(middle)))
    tree = Tree(old, blocks.load)
    blocks.measure(
        f"look up {few} paths in order", lambda: [tree.get(path_of(n)) for n in range(0, count, 1000)]
    )
    blocks.measure("list a folder of 1 name", lambda: list(tree.list("images")))
    blocks.measure("list a folder of folders", lambda: list(tree.list("images/train")))
    blocks.measure("iterate 1 folder of 1,000 files", lambda: list(tree.iterate(path_of(middle)[:-13])))
    blocks.measure("iterate everything", lambda: sum(1 for _ in tree.iterate()))
    blocks.measure("diff, 1 file differs", lambda: list(diff(old, one, blocks.load)))
    blocks.measure("diff, 10 files differ", lambda: list(diff(old, ten, blocks.load)))
    blocks.measure("diff, 0.1 % differ, spread out", lambda: list(diff(old, many, blocks.load)))
    blocks.measure("merge, 1 file against 0.1 %", lambda: merge(old, one, many, blocks.load, blocks.save))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
