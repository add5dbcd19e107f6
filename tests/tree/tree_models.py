"""Small worlds for the tests of trees: blocks in a dict that counts, small shapes, entries from a number."""

from hypothesis import strategies as st

from dataver.formats.block import parse_block
from dataver.formats.entry import Entry, Extent, Kind
from dataver.hashing import digest
from dataver.tree import Shape, build

SMALL = Shape(mask=3, most_items=6, most_bytes=60)
PACK = digest(b"pack")
NAMES = ["a", "a-b", "b", "c.txt", "d", "é", "x0", "zz"]


class BlockBox:
    """Holds blocks by digest, and counts what is loaded from it and saved to it."""

    def __init__(self):
        self.objects, self.loaded, self.saved = {}, [], []

    def load(self, name):
        self.loaded.append(name)
        return parse_block(self.objects[name], name, self.objects.__getitem__)

    def save(self, block):
        self.saved.append(block.digest)
        self.objects.setdefault(block.digest, block.data)

    def reset(self):
        self.loaded.clear()
        self.saved.clear()


def entry_of(path, version):
    """Return the entry at a path that a small number stands for: files mostly, then the other kinds."""
    if version % 7 == 5:
        return Entry(path, Kind.SYMLINK, target=f"to{version}")
    if version % 7 == 6:
        return Entry(path, Kind.DIRECTORY)
    kind = Kind.EXECUTABLE if version % 7 == 4 else Kind.FILE
    size = version * 10
    extents = (Extent(PACK, 8 + version, 99, 0, size),) if size else ()
    return Entry(path, kind, size, digest(b"%d" % version), "", extents)


def build_model(box, model, shape=SMALL):
    """Build the tree of a dict path → entry."""
    return build([model[path] for path in sorted(model)], box.save, shape)


def without_clashes(model):
    """Drop what lies below a path that is an entry itself."""
    return {path: entry for path, entry in model.items() if not any(part in model for part in above(path))}


def above(path):
    """Return the folders above a path."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
MODELS = st.dictionaries(PATHS, st.integers(0, 13), max_size=60).map(
    lambda found: without_clashes({path: entry_of(path, version) for path, version in found.items()})
)
EDITS = st.dictionaries(PATHS, st.none() | st.integers(0, 13), max_size=12).map(
    lambda found: {
        path: None if version is None else entry_of(path, version) for path, version in found.items()
    }
)
