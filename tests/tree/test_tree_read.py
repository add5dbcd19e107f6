"""Reading trees: ranges, folders and single paths, each from few blocks; trees that lie are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_models import MODELS, PATHS, SMALL, BlockBox, build_model, entry_of

from dataver.errors import IntegrityError
from dataver.formats.block import Child, encode_inner, encode_leaf
from dataver.formats.entry import Kind
from dataver.tree import Tree, build, diff, edit, walk

PREFIXES = st.sampled_from(["", "a", "a/", "a-b/", "b/d", "é", "z", "\U0010ffff", "x0", "\ud7ff"]) | PATHS


@given(MODELS, PREFIXES, st.just("") | PATHS)
def test_iterate_is_a_filter(model, prefix, after):
    """A prefix and a place to go on from give what filtering everything gives."""
    box = BlockBox()
    tree = Tree(build_model(box, model).digest, box.load)
    expected = [path for path in sorted(model) if path.startswith(prefix) and path > after]
    assert [entry.path for entry in tree.iterate(prefix, after)] == expected
    assert list(tree.paths(prefix, after)) == expected


@given(MODELS, st.lists(PATHS))
def test_get_is_a_look_up(model, paths):
    """Any paths, in any order, are found exactly when they are there."""
    box = BlockBox()
    tree = Tree(build_model(box, model).digest, box.load)
    for path in [*paths, *model, "", "\U0010ffff"]:
        assert tree.get(path) == model.get(path)


@given(MODELS, st.just("") | PATHS)
def test_list_gives_a_folders_names(model, folder):
    """A folder's entries and subfolders come once each, in path order, with the entries before them."""
    box = BlockBox()
    tree = Tree(build_model(box, model).digest, box.load)
    prefix = f"{folder}/" if folder else ""
    expected = {}
    for rank, path in enumerate(sorted(model)):
        if path.startswith(prefix):
            name, slash, _ = path[len(prefix) :].partition("/")
            expected.setdefault(name, (name, None if slash else model[path], rank))
    assert [tuple(listed) for listed in tree.list(folder)] == list(expected.values())
    assert [tuple(listed) for listed in tree.list(f"/{folder}/")] == list(expected.values())


@given(MODELS, st.lists(PATHS))
def test_an_entry_is_found_by_the_number_of_those_before_it(model, paths):
    """Both ways, in any order; also for paths that are not there."""
    box = BlockBox()
    tree = Tree(build_model(box, model).digest, box.load)
    order = sorted(model)
    for path in [*paths, *model, *order]:
        assert tree.rank(path) == sum(each < path for each in order)
        assert tree.number(path) == (tree.rank(path) if path in order else None)
    for rank in [*reversed(range(len(order))), *range(0, len(order), 2)]:
        leaf, number = tree.at(rank)
        assert leaf.paths[number] == order[rank]
    with pytest.raises(IndexError):
        tree.at(len(order))


@given(MODELS, PREFIXES)
def test_names_of_a_folder_are_found_by_the_number_of_an_entry(model, folder):
    """Forwards and backwards, as they are listed."""
    box, folder = BlockBox(), folder.strip("/")
    tree, prefix = Tree(build_model(box, model).digest, box.load), f"{folder}/" if folder else ""
    listed, first = list(tree.list(folder)), tree.rank(prefix)
    ends = [*(each.rank for each in listed), first + tree.totals(prefix).entries]
    for each, stop in zip(listed, ends[1:], strict=True):
        path = prefix + each.name + "/" * (each.entry is None)
        assert {tree.name_at(folder, rank) for rank in range(each.rank, stop)} == {path}
    for count in range(len(ends) + 1):
        assert tree.names_back(folder, ends[-1], count, first) == ends[-1 - min(count, len(listed))]


@given(MODELS, PREFIXES, PATHS)
def test_totals_are_those_of_the_entries(model, prefix, start):
    """Of the entries before a path and with a prefix; and a list goes on at any path."""
    box = BlockBox()
    tree = Tree(build_model(box, model).digest, box.load)

    def expected(paths):
        some = [model[path] for path in paths]
        files = sum(each.kind in (Kind.FILE, Kind.EXECUTABLE) for each in some)
        return (len(some), files, sum(each.size for each in some))

    assert tree.before(start) == expected(path for path in model if path < start)
    assert tree.totals(prefix) == expected(path for path in model if path.startswith(prefix))
    children, first = list(tree.list()), tree.rank(start)
    ends = [*(each.rank for each in children[1:]), len(model)]
    later = [
        each._replace(rank=max(each.rank, first))
        for each, end in zip(children, ends, strict=False)
        if end > first
    ]
    assert list(tree.list(start=start)) == later


def test_names_at_the_end_of_unicode_are_listed_once():
    """The last character there is does not lead `list` around in circles."""
    box = BlockBox()
    last = "\U0010ffff"
    paths = [f"x/{last}", f"x/{last}{last}", f"x{last}", f"{last}/a"]
    model = {path: entry_of(path, 1) for path in paths}
    tree = Tree(build_model(box, model).digest, box.load)
    assert [listed.name for listed in tree.list()] == ["x", f"x{last}", last]
    assert [entry.path for entry in tree.iterate(f"x/{last}")] == [f"x/{last}", f"x/{last}{last}"]


def test_look_ups_in_200000_files_load_a_handful_of_blocks():
    """One path costs the depth of the tree, its neighbours nothing, a folder only its own names."""
    box = BlockBox()
    paths = sorted(f"{number % 4}/{number:06}" for number in range(200_000))
    root = build((entry_of(path, 1) for path in paths), box.save)
    box.reset()
    tree = Tree(root.digest, box.load)
    assert tree.get("2/100002")
    assert len(box.loaded) == 2
    assert tree.get("2/100006")
    assert tree.get("2/100007") is None
    assert len(box.loaded) == 2
    box.reset()
    assert [listed.name for listed in tree.list()] == ["0", "1", "2", "3"]
    assert len(box.loaded) <= 10
    box.reset()
    assert len(list(tree.iterate("1/0000"))) == 25
    assert len(box.loaded) <= 3
    box.reset()
    assert next(tree.iterate("3/")).path == "3/000003"
    assert len(box.loaded) <= 3


def _lies():
    """Yield roots whose blocks are each valid and together are no tree, with the blocks."""
    one, two = ([entry_of(path, 1) for path in paths] for paths in (("a", "b", "m"), ("n", "o")))
    leaf, right = encode_leaf(one), encode_leaf(two)
    honest = [Child("a", leaf.digest, 3, 3, 30), Child("n", right.digest, 2, 2, 20)]
    lower = encode_inner(1, honest)
    yield "counts", encode_inner(1, [honest[0]._replace(byte_count=31), honest[1]]), [leaf, right]
    yield "counts", encode_inner(1, [honest[0]._replace(entry_count=4), honest[1]]), [leaf, right]
    yield "first path", encode_inner(1, [honest[0]._replace(first_path="A"), honest[1]]), [leaf, right]
    yield "overlap", encode_inner(1, [honest[0], honest[1]._replace(first_path="b")]), [leaf, right]
    yield "level", encode_inner(2, honest), [leaf, right]
    yield (
        "level",
        encode_inner(1, [Child("a", lower.digest, 5, 5, 50), Child("z", right.digest, 2, 2, 20)]),
        [lower, leaf, right],
    )
    yield (
        "empty",
        encode_inner(1, [Child("A", encode_leaf([]).digest, 0, 0, 0), *honest]),
        [encode_leaf([]), leaf, right],
    )
    yield "single", encode_inner(1, honest[:1]), [leaf]


@pytest.mark.parametrize(
    ("why", "root", "blocks"), list(_lies()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_trees_that_lie_are_refused(why, root, blocks):
    """Whoever wrote a tree with true digests and false summaries is found out by every reader."""
    box = BlockBox()
    box.save(root)
    for block in blocks:
        box.save(block)
    other = build_model(box, {"q": entry_of("q", 1)}).digest
    changes = [(path, entry_of(path, 2)) for path in ("B", "c", "n", "p")]
    for reader in (
        lambda: list(Tree(root.digest, box.load).iterate()),
        lambda: [Tree(root.digest, box.load).get(path) for path in ("A", "a", "b", "n", "z")],
        lambda: list(walk([root.digest], box.load)),
        lambda: list(diff(root.digest, other, box.load)),
        lambda: list(diff(other, root.digest, box.load)),
        lambda: edit(root.digest, changes, box.load, box.save, shape=SMALL),
    ):
        with pytest.raises(IntegrityError):
            reader()
