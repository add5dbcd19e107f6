"""Differences and merges against plain dicts, and what they cost."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tree_models import EDITS, MODELS, SMALL, BlockBox, above, build_model, entry_of, without_clashes

from dataver.formats.entry import Extent, Kind, same_content
from dataver.hashing import digest
from dataver.tree import Change, Tree, build, count_renames, diff, edit, find_renames, merge
from properties import examples


def difference(one, two):
    """Return the changes from one dict to another."""
    return [
        Change(path, one.get(path), two.get(path))
        for path in sorted({*one, *two})
        if not same_content(one.get(path), two.get(path))
    ]


@settings(max_examples=examples(200))
@given(MODELS, MODELS, EDITS)
def test_diff_is_the_difference_of_dicts(one, two, changes):
    """Unrelated trees and near ones, of any heights, both ways."""
    box = BlockBox()
    near = {path: entry for path, entry in {**one, **changes}.items() if entry is not None}
    roots = [build_model(box, model).digest for model in (one, two, near)]
    for left, right in ((0, 1), (1, 0), (0, 2), (2, 0), (0, 0)):
        models = [one, two, near]
        expected = difference(models[left], models[right])
        assert list(diff(roots[left], roots[right], box.load)) == expected
        assert count_renames(roots[left], roots[right], box.load) == len(find_renames(expected))
        bare = [
            Change(path, old and old._replace(extents=()), new and new._replace(extents=()))
            for path, old, new in expected
        ]
        assert list(diff(roots[left], roots[right], box.load, extents=False)) == bare


@given(MODELS, MODELS)
def test_diff_then_edit_gives_the_target(one, two):
    """A difference applied to the first tree is the second."""
    box = BlockBox()
    start, target = build_model(box, one), build_model(box, two)
    changes = [(path, new) for path, _, new in diff(start.digest, target.digest, box.load)]
    assert edit(start.digest, changes, box.load, box.save, shape=SMALL) == target


def test_moved_bytes_are_no_difference():
    """Two trees that differ in extents only have one digest, and differ in nothing."""
    entries = [entry_of(f"{number:03}", 1) for number in range(50)]
    moved = [entry._replace(extents=(Extent(digest(b"other"), 8, 9, 0, entry.size),)) for entry in entries]
    assert build(entries, BlockBox().save, SMALL) == build(moved, BlockBox().save, SMALL)


def test_ten_files_changed_among_200000_load_a_handful_of_blocks():
    """A difference costs its own blocks on both sides, and no others."""
    box = BlockBox()
    entries = [entry_of(f"d/{number:06}", 1) for number in range(200_000)]
    old = build(entries, box.save)
    changes = [(path, entry_of(path, 2)) for path in (f"d/{number:06}" for number in range(90_000, 90_010))]
    new = edit(old.digest, changes, box.load, box.save)
    box.reset()
    assert [change.path for change in diff(old.digest, new.digest, box.load)] == [path for path, _ in changes]
    assert len(box.loaded) <= 6


def test_a_removed_block_does_not_open_its_neighbours():
    """Where one side lacks whole blocks, the blocks behind them are still recognised and skipped."""
    box = BlockBox()
    old = build((entry_of(f"d/{number:06}", 1) for number in range(200_000)), box.save)
    new = edit(old.digest, [(f"d/{number:06}", None) for number in range(10_000)], box.load, box.save)
    leaves = len(list(Tree(old.digest, box.load).leaves()))
    box.reset()
    assert sum(1 for _ in diff(old.digest, new.digest, box.load)) == 10_000
    assert len(box.loaded) <= 12 < leaves


def test_renames_pair_equal_content_once():
    """Each removed file goes with one added file of its content; empty files go with none."""
    gone = [
        Change(path, entry_of(path, version), None)
        for path, version in (("a", 1), ("b", 1), ("c", 0), ("d", 3))
    ]
    come = [Change(path, None, entry_of(path, version)) for path, version in (("x", 1), ("y", 0), ("z", 2))]
    assert [(old.path, new.path) for old, new in find_renames([*gone, *come])] == [("a", "x")]


def merged(base, ours, theirs, prefer):
    """Merge dicts by the rules: return the result and the paths in conflict."""
    result, conflicts = {}, set()
    sides = {"ours": ours, "theirs": theirs}
    origin = {}
    for path in {*base, *ours, *theirs}:
        before, mine, other = base.get(path), ours.get(path), theirs.get(path)
        side = prefer
        if same_content(mine, other) or same_content(before, other):
            side = "ours"
        elif same_content(before, mine):
            side = "theirs"
        else:
            conflicts.add(path)
        if sides[side].get(path) is not None:
            result[path], origin[path] = sides[side][path], side
    for path in list(result):
        for folder in above(path):
            if folder not in result or path not in result:
                continue
            if result[folder].kind == Kind.DIRECTORY:
                del result[folder]
            else:
                lost = folder if origin[path] == prefer else path
                if result[lost].kind != Kind.DIRECTORY:
                    conflicts.add(lost)
                del result[lost]
    return result, conflicts


@settings(max_examples=examples(400))
@given(MODELS, EDITS, EDITS, st.sampled_from(["ours", "theirs"]), st.booleans())
def test_merge_is_the_three_way_merge_of_dicts(base, mine, other, prefer, ancestor):
    """What one side changed is kept, what both changed is decided and listed; no file lies in a file."""
    box = BlockBox()
    if not ancestor:
        base = {}
    ours, theirs = (
        without_clashes({path: entry for path, entry in {**base, **changes}.items() if entry is not None})
        for changes in (mine, other)
    )
    roots = [build_model(box, model).digest for model in (base, ours, theirs)]
    result, conflicts = merge(
        roots[0] if ancestor else None, *roots[1:], box.load, box.save, prefer=prefer, shape=SMALL
    )
    model, disputed = merged(base, ours, theirs, prefer)
    assert list(Tree(result.digest, box.load).iterate()) == [model[path] for path in sorted(model)]
    assert result == build_model(BlockBox(), model)
    assert {conflict.path for conflict in conflicts} == disputed
    assert [conflict.path for conflict in conflicts] == sorted(conflict.path for conflict in conflicts)
    assert without_clashes(model) == model


@given(MODELS, EDITS, EDITS)
def test_merging_is_symmetric_but_for_preference(base, mine, other):
    """Swapping the sides and the preference changes nothing."""
    box = BlockBox()
    models = [
        without_clashes({path: entry for path, entry in {**base, **changes}.items() if entry is not None})
        for changes in ({}, mine, other)
    ]
    base_root, ours, theirs = (build_model(box, model).digest for model in models)
    one, _ = merge(base_root, ours, theirs, box.load, box.save, prefer="theirs", shape=SMALL)
    two, _ = merge(base_root, theirs, ours, box.load, box.save, prefer="ours", shape=SMALL)
    assert one == two


def test_a_file_and_a_folder_of_one_name_conflict():
    """The preferred side's stands, whichever it is, and what is left out is named with its reason."""
    box = BlockBox()
    ours, theirs = (
        build([entry_of(path, 1) for path in paths], box.save).digest for paths in (("a", "k"), ("a/b", "k"))
    )
    result, [conflict] = merge(None, ours, theirs, box.load, box.save, prefer="theirs")
    assert list(Tree(result.digest, box.load).paths()) == ["a/b", "k"]
    assert (conflict.path, conflict.other, conflict.theirs) == ("a", "a/b", None)
    result, [conflict] = merge(None, ours, theirs, box.load, box.save, prefer="ours")
    assert list(Tree(result.digest, box.load).paths()) == ["a", "k"]
    assert (conflict.path, conflict.other, conflict.ours) == ("a/b", "a", None)


def test_an_empty_folder_gives_way_to_what_is_put_into_it():
    """A folder that one side keeps empty and the other fills is no conflict."""
    box = BlockBox()
    empty, filled = (build([entry_of(*each)], box.save).digest for each in (("a", 6), ("a/b", 1)))
    for sides in ((empty, filled), (filled, empty)):
        for prefer in ("ours", "theirs"):
            result, conflicts = merge(None, *sides, box.load, box.save, prefer=prefer)
            assert list(Tree(result.digest, box.load).paths()) == ["a/b"]
            assert conflicts == []


def test_merging_near_trees_loads_few_blocks():
    """A merge costs what the sides differ in, not what they hold."""
    box = BlockBox()
    base = build((entry_of(f"d/{number:06}", 1) for number in range(100_000)), box.save)
    ours = edit(base.digest, [("d/000005", entry_of("d/000005", 2))], box.load, box.save)
    theirs = edit(base.digest, [("d/090000", None)], box.load, box.save)
    box.reset()
    result, conflicts = merge(base.digest, ours.digest, theirs.digest, box.load, box.save)
    assert not conflicts
    assert result.entries == 99_999
    assert len(box.loaded) <= 14
