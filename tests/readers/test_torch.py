"""PyTorch reads versions that nobody has fetched: every file once, in any kind of worker, from any place."""

import json
import os
import pickle
import random
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import dataver
from dataver.errors import IntegrityError, InvalidInput, NotFound, PathNotFound
from dataver.integrations.torch import FileDataset, FileSampler, FileStream, Loader, Sample

REF = "the/set@1.0.0"
CONTEXTS = ["fork", "spawn", "forkserver"]


@pytest.fixture(autouse=True)
def folder(machine: Path, repo: dataver.Repository, noise: random.Random) -> Path:
    """The folder that the version was made from: three hundred files, tiny to 60 kB, in two folders."""
    folder = machine / "folder"
    for number in range(300):
        path = folder / ("train" if number % 5 else "test") / f"{number:03d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(2, "big") + noise.randbytes(noise.choice([0, 10, 3_000, 60_000])))
    (folder / "link").symlink_to("train/001.bin")
    repo.sync(folder, "the/set", workspace=machine / "work")
    return folder


def there(folder: Path, part: str = "") -> dict[str, bytes]:
    """Return what a folder holds, links left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def number_of(path: str, data: bytes) -> int:
    """Return the number in a file: a sample that torch makes tensors of."""
    assert path.endswith(f"{int.from_bytes(data[:2], 'big'):03d}.bin")
    return int.from_bytes(data[:2], "big")


def numbers(batches) -> list[int]:
    return [int(number) for batch in batches for number in batch]


def everything(samples) -> dict[str, bytes]:
    """Return the samples of batches by path, none of them twice."""
    found: dict[str, bytes] = {}
    for batch in samples:
        for path, data in zip(batch.path, batch.data, strict=True):
            assert path not in found
            found[path] = data
    return found


def test_a_dataset_is_a_map_of_numbers_to_files(folder: Path) -> None:
    """Length, paths in order, samples by number, from the end too; globs choose."""
    data = FileDataset(REF, include="train/**")
    expected = there(folder, "train")
    assert list(data.paths) == list(expected)
    assert len(data) == len(expected) == 240
    assert data[3] == Sample(*list(expected.items())[3])
    assert data[-1].path == list(expected)[-1]
    with pytest.raises(IndexError):
        data[240]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("fetched", [False, True], ids=["not fetched", "fetched"])
@pytest.mark.parametrize("kind", ["map", "stream"])
def test_workers_of_every_kind_read_every_file_once(
    folder: Path, repo: dataver.Repository, context: str, fetched: bool, kind: str
) -> None:
    """Forked, spawned and fork-served workers, after the parent itself has read."""
    if fetched:
        repo.fetch(REF)
    data = FileDataset(REF) if kind == "map" else FileStream(REF, shuffle=True)
    assert data.files.fetched == fetched
    assert data.files.read("test/000.bin") == (folder / "test/000.bin").read_bytes()
    loader = DataLoader(data, batch_size=16, num_workers=2, multiprocessing_context=context)
    assert everything(loader) == there(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_read_every_file_once(folder: Path, workers: int) -> None:
    """Three ranks of two workers each: together they are the version, and no file comes twice."""
    found: dict[str, bytes] = {}
    for rank in range(3):
        stream = FileStream(REF, shard=(rank, 3), shuffle=True, seed=4)
        part = everything(DataLoader(stream, batch_size=7, num_workers=workers))
        assert len(part) == len(stream) > 50
        assert not found.keys() & part.keys()
        found |= part
    assert found == there(folder)


def test_a_shard_is_the_one_that_fetch_brings(repo: dataver.Repository) -> None:
    """Who fetched a shard finds in it what its loader asks for."""
    brought = repo.fetch(REF, include="train/**", shard=(1, 4)).path
    assert set(FileStream(REF, include="train/**", shard=(1, 4)).paths) == set(there(brought))
    brought = repo.fetch(REF, include="train", exclude="*1.bin", shard=(1, 4)).path
    assert set(FileStream(REF, include="train", exclude="*1.bin", shard=(1, 4)).paths) == set(there(brought))


def test_the_launcher_says_which_rank_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """`shard="rank"` is what torchrun set."""
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert list(FileDataset(REF, shard="rank").paths) == list(FileDataset(REF, shard=(2, 3)).paths)


def test_each_epoch_has_an_order_of_its_own_which_the_seed_repeats() -> None:
    """A Loader counts epochs; another Loader with the same seed gives the same ones."""
    one, two = (Loader(FileStream(REF, decode=number_of, shuffle=True, seed=3), 8) for _ in range(2))
    epochs = [numbers(one) for _ in range(3)]
    assert [numbers(two) for _ in range(3)] == epochs
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert numbers(Loader(FileStream(REF, decode=number_of, shuffle=True, seed=4), 8)) not in epochs


def test_workers_that_stay_see_the_next_epoch() -> None:
    """With persistent workers each epoch is another order, and complete."""
    stream = FileStream(REF, decode=number_of, shuffle=True)
    loader = Loader(stream, 10, num_workers=2, persistent_workers=True)
    epochs = [numbers(loader) for _ in range(3)]
    assert stream.epoch == 3
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def loaders(kind: str, workers: int, **options) -> Loader:
    if kind == "stream":
        return Loader(
            FileStream(REF, decode=number_of, shuffle=True, seed=1), 7, num_workers=workers, **options
        )
    data = FileDataset(REF, decode=number_of)
    return Loader(data, 7, num_workers=workers, sampler=FileSampler(data, shuffle=True, seed=1), **options)


@pytest.mark.parametrize("kind", ["map", "stream"])
@pytest.mark.parametrize(("workers", "options"), [(0, {}), (2, {}), (2, {"persistent_workers": True})])
def test_a_loader_goes_on_in_the_middle_of_an_epoch(kind: str, workers: int, options: dict) -> None:
    """From any batch: what is left of the epoch is what was not read, and then the next epoch follows."""
    unbroken = loaders(kind, workers, **options)
    first, second = numbers(unbroken), numbers(unbroken)
    for batches in (0, 1, 20, len(unbroken) - 1):
        broken = loaders(kind, workers, **options)
        running = iter(broken)
        read = numbers(next(running) for _ in range(batches))
        state = json.loads(json.dumps(broken.state_dict()))
        del running
        other = loaders(kind, workers, **options)
        other.load_state_dict(state)
        rest = numbers(other)
        assert read + rest == first
        assert numbers(other) == second


@pytest.mark.parametrize("kind", ["map", "stream"])
def test_a_pass_that_is_left_early_is_an_epoch(kind: str) -> None:
    """The next pass has the next order; one that gave out nothing does not count."""
    unbroken, left = loaders(kind, 2), loaders(kind, 2)
    orders = [numbers(unbroken) for _ in range(3)]
    iter(left)
    for order in orders[:2]:
        running = iter(left)
        assert numbers(next(running) for _ in range(5)) == order[:35]
    assert numbers(left) == orders[2]


def test_a_state_that_means_nothing_here_is_refused(repo: dataver.Repository, folder: Path) -> None:
    """Another seed, choice, version or number of workers: the position would be of other files."""
    state = Loader(FileStream(REF, shuffle=True), num_workers=2).state_dict()
    for stream in (FileStream(REF, shuffle=True, seed=1), FileStream(REF, include="train/**", shuffle=True)):
        with pytest.raises(InvalidInput, match="position is not valid"):
            Loader(stream, num_workers=2).load_state_dict(state)
    with pytest.raises(InvalidInput, match="2 workers, this loader has 3"):
        Loader(FileStream(REF, shuffle=True), num_workers=3).load_state_dict(state)
    (folder / "new").write_text("new")
    repo.sync(folder, "the/set")
    with pytest.raises(InvalidInput, match="version"):
        Loader(FileStream("the/set", shuffle=True), num_workers=2).load_state_dict(state)


@pytest.mark.parametrize("even", ["drop", "repeat"])
def test_even_ranks_have_as_many_batches(even: str) -> None:
    """Ranks that train in step get the same number of samples and batches, with workers too."""
    counts = []
    for rank in range(3):
        stream = FileStream(REF, decode=number_of, shard=(rank, 3), shuffle=True, even=even)
        loader = Loader(stream, 8, num_workers=2)
        batches = [len(batch) for batch in loader]
        assert len(loader) == len(batches)
        counts.append((len(batches), sum(batches)))
    assert len(set(counts)) == 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_loader_knows_how_many_batches_it_has(workers: int, drop_last: bool) -> None:
    """Each worker's last batch counts, or is dropped."""
    loader = Loader(FileStream(REF, decode=number_of), 7, num_workers=workers, drop_last=drop_last)
    assert len(loader) == sum(1 for _ in loader)


def test_samples_come_one_by_one_without_a_batch_size() -> None:
    """`batch_size=None` gives samples as they are, and the position counts them."""
    loader = Loader(FileStream(REF), None)
    running = iter(loader)
    first = [next(running).path for _ in range(5)]
    other = Loader(FileStream(REF), None)
    other.load_state_dict(loader.state_dict())
    rest = [sample.path for sample in other]
    assert first + rest == list(FileStream(REF).paths)


def test_a_listing_is_read_in_its_order() -> None:
    """Exact paths in any order, twice if they are listed twice; what is not there is named."""
    wanted = ["train/003.bin", "test/000.bin", "train/003.bin"]
    assert [sample.path for sample in FileStream(REF, listing=wanted)] == wanted
    assert [FileDataset(REF, listing=wanted)[number].path for number in range(3)] == wanted
    with pytest.raises(PathNotFound, match="no/such"):
        FileDataset(REF, listing=["no/such"])
    with pytest.raises(InvalidInput):
        FileDataset(REF, listing=wanted, include="train/**")


def first_bytes(path: str, file) -> bytes:
    with file:
        file.seek(1)
        return file.read(1)


@pytest.mark.parametrize("kind", [FileDataset, FileStream])
def test_large_files_are_given_open(kind: type) -> None:
    """With `opened`, `decode` reads what it needs of a seekable file."""
    data = kind(REF, include="train/00*", decode=first_bytes, opened=True)
    assert [int.from_bytes(one) for one in data] == [1, 2, 3, 4, 6, 7, 8, 9]


def test_memory_is_bounded(repo: dataver.Repository, machine: Path, noise: random.Random) -> None:
    """Of 96 MB in 1 MB files, little more than the two groups and the frames kept are held at a time."""
    big = machine / "big"
    big.mkdir()
    for number in range(96):
        (big / f"{number:02d}").write_bytes(noise.randbytes(1 << 20))
    repo.sync(big, "big", workspace=machine / "work")
    tracemalloc.start()
    try:
        sizes = [len(sample.data) for sample in FileStream("big", shuffle=True, memory=8 << 20)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [1 << 20] * 96
    assert peak < 64 << 20  # 8 MB of files, 32 MB of frames, a group's frames on their way


def test_damage_reaches_the_training_loop_as_what_it_is(repo: dataver.Repository, machine: Path) -> None:
    """A worker that meets wrong bytes ends the epoch with an error that names the file."""
    for pack in (machine / "repo" / "packs").rglob("*"):
        if pack.is_file():
            content = bytearray(pack.read_bytes())
            content[len(content) // 2] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(content)
    loader = Loader(FileStream(REF), 16, num_workers=2)
    with pytest.raises(IntegrityError, match=r"'t(rain|est)/\d+\.bin'"):
        list(loader)


def test_a_loader_that_is_left_ends(folder: Path) -> None:
    """Breaking out of an epoch leaves no thread that keeps the process."""
    code = f"""
        from dataver.integrations.torch import FileStream, Loader
        if __name__ == "__main__":
            for workers in (0, 2):
                for batch in Loader(FileStream({REF!r}, memory=1 << 20), 4, num_workers=workers):
                    break
            print("left")
    """
    script = folder.parent / "left.py"
    script.write_text(textwrap.dedent(code))
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (0, "left\n", "")


def test_nothing_secret_goes_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled dataset has the place and packed paths, and works elsewhere."""
    for data in (FileDataset(REF), FileStream(REF)):
        again = pickle.loads(pickle.dumps(data))
        assert list(again.paths) == list(data.paths)
        assert next(iter(again)).data == next(iter(data)).data


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ref": "no/set"}, NotFound),
        ({"include": "*.jpg"}, PathNotFound),
        ({"exclude": "**"}, PathNotFound),
        ({"exclude": "*.jpg", "listing": ["train/001.bin"]}, InvalidInput),
        ({"shard": (3, 3)}, InvalidInput),
        ({"even": "pad"}, InvalidInput),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict, error: type) -> None:
    """Before any worker is started."""
    with pytest.raises(error):
        FileStream(**{"ref": REF} | options)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"batch_sampler": [[0]]}, {"sampler": [1, 2]}])
def test_a_loader_refuses_orders_it_cannot_go_on_in(options: dict) -> None:
    """An order that is not the sampler's has no position."""
    with pytest.raises(InvalidInput):
        Loader(FileDataset(REF), **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_goes_on_too(workers: int) -> None:
    """`StatefulDataLoader` asks the stream in each worker where it is, and brings it there again."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    def made() -> StatefulDataLoader:
        stream = FileStream(REF, decode=number_of, shuffle=True, seed=2)
        return StatefulDataLoader(stream, batch_size=7, num_workers=workers)

    first = numbers(made())
    broken = made()
    running = iter(broken)
    read = numbers(next(running) for _ in range(9))
    state = broken.state_dict()
    other = made()
    other.load_state_dict(state)
    assert read + numbers(other) == first


def test_lineage_says_which_share_was_read(machine: Path) -> None:
    """Two of three ranks, as torchrun starts them: a link each with its share; a listing has paths."""
    code = """
        from dataver.integrations.torch import FileStream, Loader
        if __name__ == "__main__":
            for more in ({"run": "mlflow:whole"}, {"run": "mlflow:part", "exclude": "*1.bin"}):
                stream = FileStream("the/set@1.0.0", include="train/**", shard="rank", **more)
                for batch in Loader(stream, 16, num_workers=2):
                    pass
            stream = FileStream("the/set@1.0.0", listing=["train/001.bin", "test/000.bin"], run="mlflow:two")
            for batch in Loader(stream, 1):
                pass
    """
    script = machine / "train.py"
    script.write_text(textwrap.dedent(code))
    environment = os.environ | {"DATAVER_LINEAGE": "on", "WORLD_SIZE": "3"}
    ranks = [
        subprocess.Popen([sys.executable, script], env=environment | {"RANK": rank}) for rank in ("0", "1")
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    lineage = dataver.open().lineage
    links = lineage.run("mlflow:whole").inputs
    assert {(link.subset.shard, link.subset.patterns) for link in links} == {
        ((rank, 3), ("train/**",)) for rank in (0, 1)
    }
    for link in links:
        assert link.files == len(FileStream(REF, include="train/**", shard=link.subset.shard))
    links = lineage.run("mlflow:part").inputs
    assert {(link.subset.shard, link.subset.exclude) for link in links} == {
        ((rank, 3), ("*1.bin",)) for rank in (0, 1)
    }
    for link in links:
        stream = FileStream(REF, include="train/**", exclude="*1.bin", shard=link.subset.shard)
        assert link.files == len(stream)
    for link in lineage.run("mlflow:two").inputs:
        assert link.subset.paths == ("test/000.bin", "train/001.bin")


def test_tensors_are_collated_as_ever() -> None:
    """What `decode` makes is collated by torch, and a `collate_fn` of one's own is used."""
    (batch,) = Loader(FileStream(REF, include="test/**", decode=number_of), 60)
    assert torch.equal(batch, torch.arange(0, 300, 5))
    (batch,) = Loader(FileStream(REF, include="test/**", decode=number_of), 60, collate_fn=tuple)
    assert batch == tuple(range(0, 300, 5))
