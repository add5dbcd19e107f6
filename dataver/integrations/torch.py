"""PyTorch datasets over the files of a version, read where they are: nothing has to be fetched before.

    from dataver.integrations.torch import FileStream, Loader

    stream = FileStream("vision/cats@1.2.0", paths="train/**", decode=to_tensor, shuffle=True, shard="rank")
    loader = Loader(stream, batch_size=64, num_workers=8)
    for epoch in range(10):
        for batch in loader: ...                 # each epoch in an order of its own
        torch.save(loader.state_dict(), ...)     # anywhere, in the middle of an epoch too

`FileDataset` is a map from numbers to files, `FileStream` an order of them, `FileSampler` such an order for a
`FileDataset`, and `Loader` a `DataLoader` that knows where it is. Order, parts and positions are
`dataver.reading.sharding`'s; bytes are `dataver.reading.Files`'.

Workers may be forked, spawned or come from a fork server: what goes to them is a place without secrets and a
packed list of paths, and each reads with connections of its own. Where a position or an epoch changes while
workers live (`persistent_workers`), they see it in shared memory.

Needs torch: `pip install 'dataver[torch]'`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate, get_worker_info

import dataver
from dataver.checkout.standing import as_shard
from dataver.errors import InvalidInput
from dataver.reading.ahead import contents
from dataver.reading.listing import Listing
from dataver.reading.sharding import Even, Plan

if TYPE_CHECKING:
    from pathlib import Path

    from dataver.reading import Files

__all__ = ["FileDataset", "FileSampler", "FileStream", "Loader", "Sample"]

MEMORY = 64 << 20


class Sample(NamedTuple):
    """One file, where no `decode` makes something else of it.

    Attributes:
        path: its path in the version.
        data: its bytes, or with `opened` a file to be read.
    """

    path: str
    data: Any


Decode = Callable[[str, Any], Any]
ShardLike = tuple[int | Iterable[int], int] | str | None


class _Source:
    """The files that one reader reads, and what a sample is; goes to workers as it is."""

    def __init__(
        self,
        ref: str,
        paths: str | Iterable[str] | None,
        listing: Iterable[str] | None,
        shard: ShardLike,
        decode: Decode | None,
        run: object,
        repo: str | Path | dataver.Repository | None,
        *,
        opened: bool,
    ) -> None:
        found = repo if isinstance(repo, dataver.Repository) else dataver.open(repo)
        self.files: Files = found.files(ref, run=run)
        self.shard, self.decode, self.opened = as_shard(shard), decode, opened
        self.patterns: tuple[str, ...] | None = None
        if listing is not None:
            if paths is not None:
                raise InvalidInput("files are chosen by `paths` or by `listing`, not by both.")
            named = [listing] if isinstance(listing, str) else listing
            self.listing = Listing.chosen(((path, self.files.size(path)) for path in named), self.shard)
        else:
            chosen = (paths,) if isinstance(paths, str) else tuple(paths or ())
            self.patterns = tuple(sorted(set(chosen)))
            tree = self.files.published.record.tree
            self.listing = Listing.of(found, tree, self.patterns, self.shard)

    def sample(self, path: str, data: Any) -> Any:
        return Sample(path, data) if self.decode is None else self.decode(path, data)

    def announce(self) -> None:
        """Tell lineage which share is to be read: once it was, that says it."""
        if self.patterns is None:
            return
        ranks = self.listing.shares if self.shard is not None else {0: self.listing.shares[0]}
        world = 1 if self.shard is None else self.shard.world
        for rank, (files, size) in ranks.items():
            self.files.note_shard(self.patterns, rank, world, files, size)


class _OfVersion:
    """What every dataset of a version has."""

    _source: _Source

    @property
    def paths(self) -> Listing:
        """The paths of this reader, by number."""
        return self._source.listing

    @property
    def files(self) -> Files:
        """The version's files."""
        return self._source.files


class FileDataset(_OfVersion, Dataset[Any]):
    """The files of a version by number: a map-style dataset.

    A batch is read at once: frames that its files share are read once, and requests run side by side. Give a
    `DataLoader` a `FileSampler` for an order that keeps neighbours near each other; `shuffle=True` works too.

    Attributes:
        paths: the paths, by number.
        files: what they are read from.
    """

    def __init__(
        self,
        ref: str,
        *,
        paths: str | Iterable[str] | None = None,
        listing: Iterable[str] | None = None,
        shard: ShardLike = None,
        decode: Decode | None = None,
        opened: bool = False,
        run: object = None,
        repo: str | Path | dataver.Repository | None = None,
    ) -> None:
        """Choose files.

        Args:
            ref: the version, such as `vision/cats@1.2.0`.
            paths: globs, as `fetch` takes them; None means all files, in path order.
            listing: instead of globs, exact paths in the order that is wanted; one may come twice.
            shard: `(rank, world)`; of these files only the part of that reader of several, balanced by bytes,
                the same as `fetch(shard=…)` brings. "rank" takes it from what launched this process.
            decode: makes a sample of a path and a file's bytes; without it, samples are `Sample`s. Workers
                that are spawned must be able to import it.
            opened: give `decode` an open file, which it closes, instead of bytes: for large files.
            run: the run that reading is linked to, as `fetch` takes it; None means the current one.
            repo: the repository, or its URL; None means what `dataver.open()` opens.

        Raises:
            NotFound: no such version.
            PathNotFound: the globs choose no file, or a path of the listing is not there.
            InvalidInput: an argument cannot be.
        """
        self._source = _Source(ref, paths, listing, shard, decode, run, repo, opened=opened)
        self._announced = False

    def __len__(self) -> int:
        return len(self._source.listing)

    def __getitem__(self, number: int) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples; a `DataLoader` asks for a batch."""
        source = self._source
        paths = [source.listing[number] for number in numbers]
        if not self._announced:
            source.announce()
            self._announced = True
        if source.opened:
            return [source.sample(path, source.files.open(path)) for path in paths]
        if source.files.fetched:  # one buffer after the other, which stays in the processor's cache
            return [source.sample(path, source.files.read(path)) for path in paths]
        found = source.files.read_many([(path, 0, None) for path in paths])
        return [source.sample(path, data) for path, data in zip(paths, found, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_announced": False}


class FileStream(_OfVersion, IterableDataset[Any]):
    """The files of a version one after the other: an iterable dataset.

    The workers of a `DataLoader` divide them, by bytes. While the files of one group are given out, the next
    group is read by a thread: `memory` bounds the bytes of both, for each worker, except that a single file
    is always held whole. Where this machine has fetched the version, each file is read when it is its turn.

    `Loader` gives each epoch another order and resumes in the middle. With a `DataLoader`, call `set_epoch`
    before each epoch.

    Attributes:
        paths: the paths of this reader, by number.
        files: what they are read from.
    """

    def __init__(
        self,
        ref: str,
        *,
        paths: str | Iterable[str] | None = None,
        listing: Iterable[str] | None = None,
        shard: ShardLike = None,
        decode: Decode | None = None,
        opened: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        memory: int = MEMORY,
        even: Even | None = None,
        run: object = None,
        repo: str | Path | dataver.Repository | None = None,
    ) -> None:
        """Choose files and their order; other arguments as of `FileDataset`.

        Args:
            ref: the version.
            paths: globs.
            listing: exact paths instead.
            shard: the part of one reader of several.
            decode: makes a sample.
            opened: give it an open file.
            shuffle: another order in each epoch; else path order, or that of the listing.
            seed: which orders these are; the same for all readers.
            memory: bytes that a worker may hold: half of it is what is shuffled among each other, taken from
                runs of neighbours (2 MB each) from all over the version.
            even: "drop" or "repeat": each reader gets as many files as the one with the fewest, or the most,
                so that none waits for another at the end of an epoch. None: each its own part.
            run: the run.
            repo: the repository.
        """
        self._source = _Source(ref, paths, listing, shard, decode, run, repo, opened=opened)
        self._plan = Plan(self._source.listing, shuffle, seed, max(memory // 2, 1), even).checked()
        self._shared = torch.zeros(1, dtype=torch.int64).share_memory_()  # the epoch
        self._starts: torch.Tensor | None = None  # by worker, where it begins; a `Loader`'s
        self._position = 0
        self._resumed: tuple[int, int] | None = None

    @property
    def epoch(self) -> int:
        """The epoch whose order is next."""
        return int(self._shared[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; workers that live see it, too."""
        self._shared[0] = epoch

    def __len__(self) -> int:
        """Return how many samples an epoch has, of all workers."""
        return self._plan.files()

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch = self.epoch
        start = int(self._starts[number]) if self._starts is not None else 0
        if self._resumed is not None:
            epoch, start = self._resumed
            self._resumed = None
        source = self._source
        source.announce()
        self._position = start
        turn = self._plan.turn(epoch, number, workers)
        groups = ([source.listing[at] for at in group] for group in turn.groups(start))
        for path, data in contents(source.files, groups, opened=source.opened):
            self._position += 1
            yield source.sample(path, data)
        self._position = 0 if worker is None else self._position

    def workers_have(self, workers: int) -> list[int]:
        """Return how many samples of the epoch each of some workers has."""
        return self._plan.shares(self.epoch, workers)

    def state_dict(self) -> dict[str, Any]:
        """Return where this process is; torchdata's `StatefulDataLoader` asks each worker."""
        return {"epoch": self.epoch, "position": self._position, **_identity(self._source, self._plan)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called.

        Raises:
            InvalidInput: that was another version, seed or choice of files.
        """
        _compare(state, _identity(self._source, self._plan))
        self.set_epoch(state["epoch"])
        self._resumed = state["epoch"], state["position"]


class FileSampler(Sampler[int]):
    """The order of a `FileStream` for a `FileDataset`: numbers of files, epoch by epoch."""

    def __init__(
        self,
        dataset: FileDataset,
        *,
        shuffle: bool = False,
        seed: int = 0,
        together: int | None = MEMORY // 2,
        even: Even | None = None,
    ) -> None:
        """Choose an order.

        Args:
            dataset: the files.
            shuffle: another order in each epoch.
            seed: which orders these are.
            together: bytes of files that are shuffled among each other, taken from runs of neighbours; None
                shuffles file by file.
            even: as of `FileStream`.
        """
        self._source = dataset._source
        self._plan = Plan(dataset.paths, shuffle, seed, together, even).checked()
        self.epoch = 0
        self._position = self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._plan.files()

    def __iter__(self) -> Iterator[int]:
        begin, self._start = self._start, 0
        self._position = begin
        for at in self._plan.turn(self.epoch).order[begin:]:
            self._position += 1
            yield at
        self._position = 0

    def begin_at(self, position: int) -> None:
        """Leave out so many files of the next epoch: they were read before."""
        self._start = position

    def state_dict(self) -> dict[str, Any]:
        """Return where the sampler is: ahead of what a loader with workers has given out."""
        return {"epoch": self.epoch, "position": self._position, **_identity(self._source, self._plan)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called.

        Raises:
            InvalidInput: that was another version, seed or choice of files.
        """
        _compare(state, _identity(self._source, self._plan))
        self.epoch, self._start = state["epoch"], state["position"]


class Loader(DataLoader[Any]):
    """A `DataLoader` that counts epochs by itself and goes on in the middle of one.

    Takes a `FileStream`, or a `FileDataset` (with a `FileSampler` or in order), and `DataLoader`'s arguments.
    A pass that ends is an epoch; one that is left earlier begins again, unless `load_state_dict` says where.
    """

    def __init__(self, dataset: FileStream | FileDataset, batch_size: int | None = 1, **options: Any) -> None:
        """Take what `DataLoader` takes, except for an order: that is the stream's or the sampler's.

        Raises:
            InvalidInput: an order is asked for that the loader could not go on in.
        """
        if not isinstance(dataset, FileStream | FileDataset):
            raise InvalidInput("a Loader is for a FileStream or a FileDataset.")
        if options.pop("shuffle", False) or "batch_sampler" in options:
            raise InvalidInput(
                "a Loader's order is that of its FileStream or FileSampler.", hint="give shuffle=True to it"
            )
        collate = options.pop("collate_fn", None) or (
            default_collate if batch_size is not None else _as_it_is
        )
        if isinstance(dataset, FileDataset):
            sampler = options.setdefault("sampler", FileSampler(dataset))
            if not isinstance(sampler, FileSampler):
                raise InvalidInput("the sampler of a Loader is a FileSampler.")
            self._order: FileStream | FileSampler = sampler
        else:
            self._order = dataset
            workers = max(int(options.get("num_workers", 0)), 1)
            dataset._starts = torch.zeros(workers, dtype=torch.int64).share_memory_()
        self._positions = [0] * max(int(options.get("num_workers", 0)), 1)
        self._going_on = False
        super().__init__(dataset, batch_size, collate_fn=_Counted(collate, batch_size is not None), **options)

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        if isinstance(self._order, FileSampler) or self.batch_size is None:
            batches: int = super().__len__()
            return batches
        size, short = self.batch_size, 0 if self.drop_last else self.batch_size - 1
        return sum((samples + short) // size for samples in self._order.workers_have(len(self._positions)))

    def __iter__(self) -> Any:
        """Give the batches of an epoch, or of what is left of one."""
        if not self._going_on:
            self._positions = [0] * len(self._positions)
        self._going_on = False
        if isinstance(self._order, FileStream):
            starts = self._order._starts
            assert starts is not None
            starts.copy_(torch.tensor(self._positions, dtype=torch.int64))
        else:
            self._order.begin_at(self._positions[0])
        return self._batches(super().__iter__())

    def _batches(self, found: Iterator[Any]) -> Iterator[Any]:
        for worker, samples, batch in found:
            place = worker if isinstance(self._order, FileStream) else 0
            self._positions[place] += samples
            yield batch
        self._positions = [0] * len(self._positions)
        self._order.set_epoch(self._order.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is: behind the last batch that it gave out."""
        order = self._order
        said = _identity(order._source, order._plan)
        return {"epoch": order.epoch, "positions": list(self._positions), **said}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, with the next pass, where `state_dict` was called.

        Raises:
            InvalidInput: that was another version, seed, choice of files or number of workers.
        """
        order, positions = self._order, list(state["positions"])
        _compare(state, _identity(order._source, order._plan))
        if isinstance(order, FileStream) and len(positions) != len(self._positions):
            raise InvalidInput(
                f"that was a loader of {len(positions)} workers, this one has {len(self._positions)}.",
                hint="workers divide a stream's files: go on with as many",
            )
        self._positions = positions if isinstance(order, FileStream) else positions[:1] + self._positions[1:]
        self._going_on = True
        order.set_epoch(state["epoch"])


class _Counted:
    """Collates a batch, and says which worker made it of how many samples."""

    def __init__(self, collate: Callable[[Any], Any], batched: bool) -> None:
        self._collate, self._batched = collate, batched

    def __call__(self, samples: Any) -> tuple[int, int, Any]:
        worker = get_worker_info()
        count = len(samples) if self._batched else 1
        return (0 if worker is None else worker.id), count, self._collate(samples)


def _as_it_is(sample: Any) -> Any:
    return sample


def _identity(source: _Source, plan: Plan) -> dict[str, Any]:
    """Return what must be the same for a position to mean the same."""
    shard = "all" if source.shard is None else str(source.shard)
    patterns = None if source.patterns is None else list(source.patterns)
    return {
        "version": source.files.digest,
        "paths": patterns,
        "shard": shard,
        "files": len(source.listing),
        "shuffle": plan.shuffle,
        "seed": plan.seed,
        "together": plan.together,
        "even": plan.even,
    }


def _compare(state: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for name, value in here.items():
        if state.get(name, value) != value:
            raise InvalidInput(
                f"the saved state has {name} {state[name]!r}, and here it is {value!r}: its position means"
                " nothing here."
            )
