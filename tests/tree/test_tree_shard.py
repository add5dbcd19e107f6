"""Splitting entries among readers: complete, balanced, the same for all, steady when entries are added."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import InvalidInput
from dataver.tree.shard import OVERHEAD, RUN, RUNS, Shard, split

ENTRIES = st.dictionaries(
    st.text(st.sampled_from("ab/é\udc80z09"), min_size=1, max_size=9),
    st.integers(0, 5_000) | st.integers(0, 1 << 33),
    max_size=120,
).map(lambda found: sorted(found.items()))

SIZES = {
    "equal": lambda noise: 110_000,
    "spread": lambda noise: int(noise.lognormvariate(11.5, 1)),
    "tiny": lambda noise: noise.randrange(3_000),
    "large": lambda noise: 50_000_000 + noise.randrange(1 << 20),
}


PINNED_LOADS = [2890478, 2390449, 2893273]
PINNED_RANKS = "000000000102222121120220222220100201210222222222222200000200"


def dataset(count, kind, seed, folder="train"):
    """Return paths of a kind of dataset, with their sizes."""
    noise = random.Random(seed)
    return {
        f"{folder}/c{noise.randrange(100):03d}/{noise.randrange(10**8):08d}.jpg": SIZES[kind](noise)
        for _ in range(count)
    }


def ranks_of(files, world):
    entries = sorted(files.items())
    return dict(zip((path for path, _ in entries), split(entries, world).ranks, strict=True))


@given(ENTRIES, st.integers(1, 9))
def test_every_entry_has_one_rank_and_no_rank_more_than_its_bound(entries, world):
    """Ranks are in range, loads add up, and the bound holds but for what one run is heavier."""
    found = split(entries, world)
    assert len(found.ranks) == len(entries)
    assert all(rank < world for rank in found.ranks)
    loads, runs = [0] * world, {}
    for (_, size), rank, run in zip(entries, found.ranks, found.runs, strict=True):
        loads[rank] += size + OVERHEAD
        runs.setdefault(run, []).append((size + OVERHEAD, rank))
    assert loads == found.loads
    assert all(len({rank for _, rank in run}) == 1 for run in runs.values())
    mean = sum(loads) / world
    heaviest = max((sum(weight for weight, _ in run) for run in runs.values()), default=0)
    assert max(loads) <= max(mean * 17 / 16, mean + heaviest)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("world", [4, 8])
def test_ranks_get_the_same_bytes_within_a_sixteenth(kind, world):
    """Thousands of files, whatever their sizes: the heaviest rank has at most 17/16 of the mean."""
    found = split(sorted(dataset(4_000, kind, 1).items()), world)
    assert max(found.loads) * world <= sum(found.loads) * 17 / 16 + world
    assert min(found.loads) * world >= sum(found.loads) * 0.6


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_added_moves_no_more_than_as_much_again(kind, seed):
    """A tenth more, anywhere or behind all: at most 15 or 5 % of the old bytes change their rank."""
    old = dataset(20_000, kind, seed)
    before, size = ranks_of(old, 4), sum(old.values())
    for folder, most in (("train", 0.15), ("zz", 0.05)):
        after = ranks_of(old | dataset(2_000, kind, seed + 100, folder), 4)
        assert sum(old[path] for path in old if before[path] != after[path]) <= most * size


def test_one_file_more_moves_next_to_nothing():
    """A single addition is felt by its run, and hardly anywhere else."""
    old = dataset(20_000, "equal", 5)
    before, moved = ranks_of(old, 8), 0
    for number in range(20):
        after = ranks_of(old | {f"train/c{number:03d}/new.jpg": 110_000}, 8)
        moved += sum(old[path] for path in old if before[path] != after[path])
    assert moved / 20 < 2 * RUN


def test_neighbours_stay_together():
    """Ten thousand small files of a folder come in runs, so that a reader reads few ranges."""
    found = split(((f"d/{number:05d}", 20_000) for number in range(50_000)), 4)
    changes = sum(one != two for one, two in zip(found.ranks, found.ranks[1:], strict=False))
    assert changes < 50_000 / 50
    assert found.runs[-1] + 1 >= 4 * RUNS


def test_the_split_is_that_of_format_1():
    """The ranks of known entries are pinned: a shard that lineage names must stay the same for ever."""
    files = [(f"train/{number:04d}.jpg", number * 977 % 40_000) for number in range(400)]
    found = split(files, 3)
    assert found.loads == PINNED_LOADS
    assert "".join(map(str, found.ranks[:60])) == PINNED_RANKS


@pytest.mark.parametrize("given", [(0, 0), (3, 3), (-1, 2), (True, 2), ((), 2), ("a", 2), 5, (1, 2, 3), None])
def test_what_is_no_shard_is_refused(given):
    """Ranks outside the world, and other things, are named."""
    with pytest.raises(InvalidInput, match="is not a shard"):
        Shard.of(given)


@pytest.mark.parametrize("text", ["", "3", "3/", "/3", "3/3", "a/b", "1,/4"])
def test_text_that_is_no_shard_is_refused(text):
    """So is text."""
    with pytest.raises(InvalidInput, match="is not a shard"):
        Shard.parse(text)


def test_shards_as_text():
    """One rank or several, ascending; all of them are the whole."""
    assert Shard.parse("3/8") == Shard.of((3, 8)) == Shard((3,), 8)
    assert str(Shard.of(([2, 0, 2], 4))) == "0,2/4"
    assert Shard.of(([1, 0], 2)).whole and not Shard.of((0, 2)).whole
