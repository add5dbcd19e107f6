"""Walking trees: every block once, in order, with work that grows with blocks and not with paths to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_models import MODELS, PATHS, SMALL, BlockBox, build_model, entry_of

from dataver.errors import IntegrityError
from dataver.formats.block import Child, Inner, encode_inner, encode_leaf
from dataver.formats.entry import Kind
from dataver.tree import Clashes, Forest, Tree, walk


@given(MODELS, MODELS)
def test_every_block_of_some_trees_comes_once(model, other):
    """Two trees that share blocks give each block once, and the entries of the first in path order."""
    box = BlockBox()
    roots = [build_model(box, each).digest for each in (model, other)]
    box.reset()
    found = list(walk(roots, box.load))
    digests = [block.digest for block in found]
    assert len(set(digests)) == len(digests) == len(box.loaded)
    alone = [block for block in walk(roots[:1], box.load) if not isinstance(block, Inner)]
    assert [path for leaf in alone for path in leaf.paths] == sorted(model)
    assert {leaf.digest for root in roots for leaf in Tree(root, box.load).leaves()} <= set(digests)


@given(MODELS)
def test_a_walk_of_inner_blocks_names_every_leaf_and_loads_none(model):
    """The lines of the inner blocks are all that is needed to name the leaves."""
    box = BlockBox()
    root = build_model(box, model).digest
    leaves = {leaf.digest for leaf in Tree(root, box.load).leaves()}
    box.reset()
    named = {
        child.digest
        for block in walk([root], box.load, leaves=False)
        if isinstance(block, Inner)
        for child in block.children
    }
    if len(leaves) > 1:
        assert leaves <= named
        assert not leaves & set(box.loaded)


def test_what_may_be_left_out_is_not_loaded():
    """Blocks to skip, and blocks outside of what is walked, are passed over with all below them."""
    box = BlockBox()
    model = {f"{number:03d}": entry_of(f"{number:03d}", 1) for number in range(200)}
    root = build_model(box, model, SMALL).digest
    inner = [block for block in walk([root], box.load) if isinstance(block, Inner)]
    first = inner[0].children[0].digest
    below = {block.digest for block in walk([first], box.load)}
    every = {block.digest for block in walk([root], box.load)}
    assert {block.digest for block in walk([root], box.load, skip={first})} == every - below
    assert {
        block.digest for block in walk([root], box.load, within=lambda name: name != first)
    } == every - below


def test_a_tree_of_repeated_blocks_is_refused_at_once():
    """Eight small blocks with 1,000 ** 7 paths through them cost eight loads, with or without an error."""
    box = BlockBox()
    below = encode_leaf([entry_of("a", 1)])
    box.save(below)
    for level in range(1, 8):
        lines = [Child("a" if not n else f"b{n:06d}", below.digest, 1, 1, 10) for n in range(1000)]
        below = encode_inner(level, lines)
        box.save(below)
    with pytest.raises(IntegrityError, match="not match its reference"):
        list(walk([below.digest], box.load))
    box.reset()
    refused = []
    found = list(walk([below.digest], box.load, on_error=lambda name, _: refused.append(name)))
    assert len(box.loaded) <= 8
    assert len(found) + len(refused) >= 2
    assert len(set(refused)) == len(refused)


def test_two_trees_may_not_disagree_about_a_block():
    """A right edge that is in order in one tree and reaches into its neighbour in another is refused."""
    box = BlockBox()
    leaves = [
        encode_leaf([entry_of(path, 1) for path in paths]) for paths in (("a", "b"), ("m", "n"), ("z",))
    ]
    low = encode_inner(1, [Child("a", leaves[0].digest, 2, 2, 20), Child("m", leaves[1].digest, 2, 2, 20)])
    side = encode_inner(1, [Child("m1", leaves[2].digest, 1, 1, 10)])
    last = encode_inner(1, [Child("z", leaves[2].digest, 1, 1, 10)])
    good = encode_inner(2, [Child("a", low.digest, 4, 4, 40), Child("z", last.digest, 1, 1, 10)])
    bad = encode_inner(2, [Child("a", low.digest, 4, 4, 40), Child("m1", side.digest, 1, 1, 10)])
    for block in (*leaves, low, side, last, good, bad):
        box.save(block)
    list(walk([good.digest], box.load))
    refused = []
    list(walk([good.digest, bad.digest], box.load, on_error=lambda name, _: refused.append(name)))
    assert leaves[1].digest in refused


@given(st.dictionaries(PATHS, st.integers(0, 13), max_size=40))
def test_an_entry_that_is_a_folder_of_others_is_found(model):
    """Every file or link with an entry below it is named, across leaves, and nothing else is."""
    entries = [entry_of(path, model[path]) for path in sorted(model)]
    box, clashes, found = BlockBox(), Clashes(), set()
    for start in range(0, len(entries), 4):
        leaf = encode_leaf(entries[start : start + 4])
        box.save(leaf)
        found.update(clashes.find(box.load(leaf.digest)))
    assert found == {
        entry.path
        for entry in entries
        if entry.kind != Kind.DIRECTORY and any(other.startswith(f"{entry.path}/") for other in model)
    }


@given(st.lists(st.dictionaries(PATHS, st.integers(0, 13), min_size=1, max_size=40), min_size=1, max_size=4))
def test_a_forest_finds_what_is_wrong_in_each_tree_that_has_it(models):
    """Clashes are those of each tree alone; and a leaf is in the trees that hold it."""
    models = [{path: entry_of(path, number) for path, number in model.items()} for model in models]
    box, forest = BlockBox(), Forest()
    roots = [build_model(box, model, SMALL).digest for model in models]
    box.reset()
    for block in walk(roots, box.load):
        forest.add(block)
    clashing = [
        {
            path
            for path, entry in model.items()
            if entry.kind != Kind.DIRECTORY and any(other.startswith(f"{path}/") for other in model)
        }
        for model in models
    ]
    found = set(forest.clashes(roots, box.load))
    assert {path for _, path in found} == set().union(*clashing)
    hit = forest.hit(roots, {leaf for leaf, _ in found})
    assert hit >= {root for root, paths in zip(roots, clashing, strict=True) if paths}
    leaves = {root: {leaf.digest for leaf in Tree(root, box.load).leaves()} for root in roots}
    assert set(forest.leaves()) == set().union(*leaves.values())
    owners = forest.owners({str(number): root for number, root in enumerate(roots)})
    for leaf in forest.leaves():
        holding = [number for number, root in enumerate(roots) if leaf in leaves[root]]
        assert forest.hit(roots, {leaf}) == {roots[number] for number in holding}
        assert owners[leaf] == str(holding[0])


def test_a_forest_of_many_versions_is_as_large_as_its_blocks():
    """A hundred versions that share all but one leaf: each leaf is loaded once."""
    box, forest = BlockBox(), Forest()
    model = {f"{number:04d}": entry_of(f"{number:04d}", 1) for number in range(400)}
    roots = []
    for number in range(100):
        model["0200"] = entry_of("0200", number)
        roots.append(build_model(box, model, SMALL).digest)
    box.reset()
    for block in walk(roots, box.load):
        forest.add(block)
    assert len(box.loaded) == len(set(box.loaded))
    box.reset()
    assert list(forest.clashes(roots, box.load)) == [] and box.loaded == []
