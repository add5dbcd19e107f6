"""Who reads what in which order: every file once, the same for all, balanced, and a number goes on."""

import pickle
import random
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataver
from dataver.errors import InvalidInput, PathNotFound
from dataver.reading.listing import Listing
from dataver.reading.sharding import Plan
from dataver.tree import Selection
from dataver.tree.shard import OVERHEAD, Shard

FILES = st.dictionaries(
    st.text("ab/z09é", min_size=1, max_size=6), st.integers(0, 3000), min_size=1, max_size=60
)
TOGETHER = st.sampled_from([None, 1, 4000, 40_000])

PINNED_NEAR = [10, 1, 3, 5, 16, 18, 0, 14, 8, 15, 11, 9, 4, 2, 6, 19, 12, 17, 7, 13]
PINNED_FAR = [14, 18, 10, 0, 5, 1, 8, 15, 2, 19, 17, 3, 11, 12, 16, 9, 13, 6, 4, 7]


def listing(files, ranks=(0,), world=1):
    return Listing.chosen(sorted(files.items()), Shard(tuple(ranks), world))


def many(count, seed=1, size=100_000):
    noise = random.Random(seed)
    return {f"train/{noise.randrange(10**9):09d}": noise.randrange(2 * size) for _ in range(count)}


@given(FILES, TOGETHER, st.booleans(), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_all_ranks_and_workers_together_read_every_file_once(files, together, shuffle, world, workers, epoch):
    """Whatever the order, the parts are disjoint and complete."""
    read = []
    for rank in range(world):
        mine = listing(files, (rank,), world)
        plan = Plan(mine, shuffle, 7, together).checked()
        for worker in range(workers):
            turn = plan.turn(epoch, worker, workers)
            assert [at for group in turn.groups() for at in group] == list(turn.order)
            read += [mine[at] for at in turn.order]
    assert sorted(read) == sorted(files)


@given(FILES, TOGETHER, st.sampled_from(["drop", "repeat"]), st.integers(1, 3), st.integers(1, 3))
def test_even_readers_read_as_many_files(files, together, even, world, workers):
    """With `even`, ranks have the same number of files, and their workers too: nobody waits for a batch."""
    numbers = []
    for rank in range(world):
        mine = listing(files, (rank,), world)
        plan = Plan(mine, True, 3, together, even)
        if not len(mine) and even == "repeat":
            with pytest.raises(InvalidInput, match="no file to repeat"):
                plan.checked()
            return
        turns = [plan.turn(1, worker, workers) for worker in range(workers)]
        assert sum(len(turn.order) for turn in turns) == plan.checked().files()
        assert {mine[at] for turn in turns for at in turn.order} <= set(files)
        if even == "repeat":
            assert {mine[at] for turn in turns for at in turn.order} == set(mine)
        numbers.append([len(turn.order) for turn in turns])
    assert all(each == numbers[0] for each in numbers)


@given(FILES, TOGETHER, st.booleans(), st.data())
def test_going_on_at_a_position_gives_the_rest(files, together, shuffle, data):
    """The groups from any position on are the rest of the order, and none is larger than it may be."""
    mine = listing(files)
    turn = Plan(mine, shuffle, 1, together).turn(2)
    position = data.draw(st.integers(0, len(mine)))
    groups = list(turn.groups(position))
    assert [at for group in groups for at in group] == list(turn.order)[position:]
    most = together or 1 << 20
    for group in groups:
        assert len(group) == 1 or sum(mine.sizes[at] + OVERHEAD for at in group) <= most


def test_epochs_and_seeds_have_orders_of_their_own():
    """The same seed and epoch give the same order in any process; others another."""
    mine = listing(many(500))
    orders = {
        (seed, epoch): tuple(Plan(pickle.loads(pickle.dumps(mine)), True, seed).turn(epoch).order)
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len(set(orders.values())) == 6
    assert orders[0, 1] == tuple(Plan(listing(many(500)), True, 0).turn(1).order)
    assert tuple(Plan(mine).turn(5).order) == tuple(range(500))


def test_the_order_is_what_it_was():
    """Pinned: a job that goes on with a newer dataver reads what it has not read yet."""
    mine = listing({f"f{number:02d}": number * 1000 for number in range(20)})
    assert list(Plan(mine, True, 5, 30_000).turn(3).order) == PINNED_NEAR
    assert list(Plan(mine, True, 5, None).turn(3).order) == PINNED_FAR


@pytest.mark.parametrize("together", [None, 8 << 20])
def test_a_shuffle_mixes(together):
    """Where a file comes is hardly related to its name, and each group holds files of many runs."""
    mine = listing(many(4000))
    order = list(Plan(mine, True, 1, together).turn(0).order)
    middle = (len(order) - 1) / 2
    related = sum((at - middle) * (place - middle) for at, place in enumerate(order))
    assert abs(related / sum((at - middle) ** 2 for at in range(len(order)))) < 0.2
    steps = sum(abs(one - two) == 1 for one, two in pairwise(order))
    assert steps < len(order) / 20


def test_groups_hold_neighbours():
    """What is read together lies together: of each run, nearly all files are in one group."""
    mine = listing(many(4000))
    turn = Plan(mine, True, 1, 16 << 20).turn(0)
    parts = sum(len({mine.runs[at] for at in group}) for group in turn.groups())
    assert parts < 1.3 * len(set(mine.runs))


@pytest.mark.parametrize("shuffle", [False, True])
def test_workers_get_the_same_bytes(shuffle):
    """Of files of very different sizes, workers get the same weight, within a file."""
    mine = listing(many(3000))
    plan = Plan(mine, shuffle, 1)
    loads = [sum(mine.sizes[at] + OVERHEAD for at in plan.turn(0, worker, 5).order) for worker in range(5)]
    assert max(loads) - min(loads) <= 2 * max(mine.sizes)


def test_the_first_group_is_small():
    """The first file comes after a small read, whatever may be read together."""
    turn = Plan(listing(many(4000)), True, 1, 64 << 20).turn(0)
    sizes = [len(group) for group in turn.groups()]
    assert sizes[0] < 20
    assert max(sizes) > 200


@pytest.mark.parametrize("wrong", [{"even": "pad"}, {"together": 0}])
def test_plans_that_cannot_be_are_refused(wrong):
    """What is not understood is not taken for something else."""
    with pytest.raises(InvalidInput):
        Plan(listing({"a": 1}), **wrong).checked()


@pytest.fixture
def version(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    for number in range(60):
        path = tmp_path / "source" / ("train" if number % 3 else "test") / f"{number:02d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number * 10))
    (tmp_path / "source" / "link").symlink_to("train/01.bin")
    (tmp_path / "source" / "empty").mkdir()
    repo = dataver.init(tmp_path / "repo")
    return repo, repo.sync(tmp_path / "source", "d", workspace=tmp_path).version


def test_a_version_is_listed_as_fetch_splits_it(version):
    """The files of a shard are those that `fetch(shard=…)` brings; links and folders are not samples."""
    repo, made = version
    tree = made.tree.digest
    for patterns in ((), ("train/**",)):
        for rank in range(3):
            mine = Listing.of(repo._core, tree, Selection(patterns, shard=Shard((rank,), 3)))
            folder = repo.fetch("d", include=patterns or None, shard=(rank, 3)).path
            there = {
                path.relative_to(folder).as_posix(): path.stat().st_size
                for path in folder.rglob("*")
                if path.is_file() and not path.is_symlink()
            }
            assert dict(zip(mine, mine.sizes, strict=True)) == there
            assert mine.shares == {rank: (len(there), sum(there.values()))}
            assert sum(mine.counts) == (40 if patterns else 60)
    with pytest.raises(PathNotFound):
        Listing.of(repo._core, tree, Selection(("*.jpg",)))


def test_a_listing_keeps_its_order_and_what_comes_twice():
    """Files that are named one by one come in that order, as often as they are named."""
    given = [("z", 1), ("a", 2), ("z", 1), ("caf\udce9", 3)]
    mine = Listing.chosen(given)
    assert mine[:] == ["z", "a", "z", "caf\udce9"]
    assert mine.sizes == array("Q", [1, 2, 1, 3])
    assert mine[-1] == "caf\udce9"
    with pytest.raises(IndexError):
        mine[4]
    with pytest.raises(InvalidInput):
        Listing.chosen([])
