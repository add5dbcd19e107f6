"""Trees against plain dicts: one form whatever the order of edits, and the cost of a change."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tree_models import EDITS, MODELS, SMALL, BlockBox, above, build_model, entry_of

from dataver.errors import InvalidInput
from dataver.formats.block import Inner
from dataver.formats.entry import Kind
from dataver.tree import Shape, Tree, build, edit
from properties import examples


def apply(model, changes):
    """Return the dict with the changes applied, or None if a path would be a file and a folder."""
    new = {path: entry for path, entry in {**model, **changes}.items() if entry is not None}
    folders = {folder for path in new for folder in above(path)}
    if any(path in new and new[path].kind != Kind.DIRECTORY for path in folders):
        return None
    return {path: entry for path, entry in new.items() if path not in folders}


def edited(box, root, model, changes, *more):
    """Edit a tree and its model alike; where the model has a clash, the edit is refused."""
    result = apply(model, changes)
    if result is None:
        with pytest.raises(InvalidInput, match="cannot be a file and the folder of"):
            edit(root.digest, sorted(changes.items()), box.load, box.save, *more, shape=SMALL)
        return root, model
    return edit(root.digest, sorted(changes.items()), box.load, box.save, *more, shape=SMALL), result


@given(MODELS)
def test_a_tree_holds_what_it_was_built_from(model):
    """Iterating gives every entry in order, and the summary counts them."""
    box = BlockBox()
    root = build_model(box, model)
    tree = Tree(root.digest, box.load)
    assert list(tree.iterate()) == [model[path] for path in sorted(model)]
    assert tree.summary() == root
    assert root[1:] == (
        len(model),
        sum(entry.kind < 2 for entry in model.values()),
        sum(entry.size for entry in model.values()),
    )


@settings(max_examples=examples(200))
@given(MODELS, st.lists(EDITS, max_size=5))
def test_any_order_of_edits_gives_the_tree_built_from_scratch(model, edits):
    """The digest depends on the entries alone (identity rule of the design), and no path is two things."""
    box = BlockBox()
    root = build_model(box, model)
    for changes in edits:
        root, model = edited(box, root, model, changes)
        assert root == build_model(BlockBox(), model)
    assert list(Tree(root.digest, box.load).iterate()) == [model[path] for path in sorted(model)]


@settings(max_examples=examples(200))
@given(MODELS, st.lists(EDITS, min_size=1, max_size=5))
def test_blocks_stored_against_others_read_the_same(model, edits):
    """With every old block a possible base, every version stays readable, undone edits included."""
    box = BlockBox()
    versions = [(build_model(box, model), model)]
    published = set(box.objects)
    for changes in [*edits, *edits[::-1]]:
        versions.append(edited(box, *versions[-1], changes, published.__contains__))
    for each, held in versions:
        assert list(Tree(each.digest, box.load).iterate()) == [held[path] for path in sorted(held)]


@given(MODELS, EDITS)
def test_new_blocks_need_not_be_loadable_while_editing(model, changes):
    """What is saved may go elsewhere than what is loaded comes from."""
    wanted = apply(model, changes)
    assume(wanted is not None)
    old, new = BlockBox(), BlockBox()
    root = build_model(old, model)
    result = edit(root.digest, sorted(changes.items()), old.load, new.save, shape=SMALL)
    new.objects |= old.objects
    assert list(Tree(result.digest, new.load).paths()) == sorted(wanted)


@given(MODELS)
def test_no_root_has_a_single_child(model):
    """The root is the lowest block that holds everything, after edits, too."""
    box = BlockBox()
    root = build_model(box, model)
    while model:
        block = box.load(root.digest)
        assert not isinstance(block, Inner) or len(block.children) > 1
        gone = sorted(model)[: max(1, len(model) // 2)]
        root = edit(root.digest, [(path, None) for path in gone], box.load, box.save, shape=SMALL)
        model = {path: entry for path, entry in model.items() if path not in gone}
    assert root == build((), box.save)


def test_a_change_that_changes_nothing_gives_the_same_tree():
    """Neither removing what is not there nor putting what is there makes another tree."""
    box = BlockBox()
    model = {f"p{number:03}": entry_of(f"p{number:03}", 1) for number in range(100)}
    root = build_model(box, model)
    same = [("absent", None), ("p050", model["p050"])]
    assert edit(root.digest, same, box.load, box.save, shape=SMALL) == root
    assert edit(root.digest, [], box.load, box.save, shape=SMALL) == root


def test_hard_limits_end_blocks_where_hashes_do_not():
    """Without a single boundary, blocks still end by count and by bytes, and edits agree with that."""
    shape = Shape(mask=(1 << 64) - 1, most_items=5, most_bytes=40)
    box = BlockBox()
    model = {f"{number:04}" * (1 + number % 3): entry_of("x", 1) for number in range(60)}
    model = {path: entry._replace(path=path) for path, entry in model.items()}
    root = build_model(box, model, shape)
    gone = sorted(model)[7]
    result = edit(root.digest, [(gone, None)], box.load, box.save, shape=shape)
    del model[gone]
    assert result == build_model(BlockBox(), model, shape)


def test_one_changed_file_among_200000_touches_a_handful_of_blocks():
    """An edit decodes and writes the blocks on the path of the change, and looks at no other."""
    box = BlockBox()
    root = build((entry_of(f"d/{number:06}", 1) for number in range(200_000)), box.save)
    assert len(box.objects) > 50
    box.reset()
    changed = entry_of("d/100000", 2)
    result = edit(root.digest, [(changed.path, changed)], box.load, box.save, lambda _: True)
    assert result.entries == root.entries
    assert len(box.loaded) <= 4
    assert len(box.saved) == 2
    assert sum(len(box.objects[name]) for name in box.saved) < 16_000, "stored as differences"


def test_entries_out_of_order_are_refused():
    """Order is the caller's part, and checked."""
    box = BlockBox()
    with pytest.raises(InvalidInput):
        build([entry_of("b", 1), entry_of("a", 1)], box.save)
    with pytest.raises(InvalidInput):
        build([entry_of("a", 1), entry_of("a", 1)], box.save)
    root = build_model(box, {"a": entry_of("a", 1)})
    for changes in ([("b", None), ("a", None)], [("a", None), ("a", None)], [("b", entry_of("c", 1))]):
        with pytest.raises(InvalidInput):
            edit(root.digest, changes, box.load, box.save)
