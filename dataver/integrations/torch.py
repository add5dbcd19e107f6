"""PyTorch datasets over the files of a version, read from the repository without a fetch.

    from dataver.integrations.torch import FileStream, Loader

    stream = FileStream("vision/cats@1.2.0", include="train/**", decode=to_tensor, shuffle=True, shard="rank")
    loader = Loader(stream, batch_size=64, num_workers=8)
    for epoch in range(10):
        for batch in loader: ...                 # each epoch in an order of its own
        torch.save(loader.state_dict(), ...)     # anywhere, in the middle of an epoch too

`FileDataset` is a map-style dataset, `FileStream` an iterable one, `FileSampler` an order for the former, and
`Loader` a `DataLoader` with a saved position. Order, shards and positions are determined by
`dataver.reading.sharding`; bytes are read by `dataver.reading.Files`.

Workers may be forked, spawned or started by a fork server: they receive a URL without secrets and a packed
list of paths, and each has connections of its own. Changes of the position or the epoch reach living workers
(`persistent_workers`) through shared memory.

Needs torch: `pip install 'dataver[torch]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate, get_worker_info

import dataver
from dataver.errors import InvalidInput
from dataver.reading.samples import Decode, Sample, SampleSource, ShardLike, contents
from dataver.reading.sharding import Even, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dataver.reading import Files
    from dataver.reading.listing import Listing
    from dataver.repository import Ref

__all__ = ["FileDataset", "FileSampler", "FileStream", "Loader", "Sample"]

MEMORY = 64 << 20


def _open(
    repo: str | Path | dataver.Repository | None, storage_options: Mapping[str, Any] | None
) -> dataver.Repository:
    if isinstance(repo, dataver.Repository):
        return repo
    return dataver.open(repo, storage_options=storage_options)


class _OfVersion:
    """Common properties of the datasets."""

    _source: SampleSource

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.files.ref!r}, files={len(self.paths)})"

    @property
    def paths(self) -> Listing:
        """The paths of this reader, by index."""
        return self._source.listing

    @property
    def files(self) -> Files:
        """The version's files."""
        return self._source.files


class FileDataset(_OfVersion, Dataset[Any]):
    """Map-style dataset of the files of a version.

    A batch is read together: frames that its files share are read once, and requests are concurrent. Use a
    `FileSampler` with the `DataLoader` for an order that keeps adjacent files together; `shuffle=True` works
    too.

    Attributes:
        paths: the paths, by index.
        files: the files of the version.
    """

    def __init__(
        self,
        ref: Ref,
        *,
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] = (),
        listing: Iterable[str] | None = None,
        shard: ShardLike = None,
        decode: Decode | None = None,
        opened: bool = False,
        run: object = None,
        repo: str | Path | dataver.Repository | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Select files.

        Args:
            ref: the version, such as `vision/cats@1.2.0`.
            include: globs, as in `fetch`; None means all files, in path order.
            exclude: globs of files to leave out, as in `fetch`.
            listing: instead of globs, exact paths in the order of the dataset; duplicates are allowed.
            shard: `(rank, world)`; only the files of one of several readers, balanced by bytes, as in
                `fetch(shard=…)`. "rank" reads both from the environment of the launcher.
            decode: returns a sample for a path and a file's bytes; without it, samples are `Sample`. Spawned
                workers must be able to import it.
            opened: pass an open file, which `decode` closes, instead of bytes: for large files.
            run: the run to link the reads to, as in `fetch`; None means the current one.
            repo: the repository, or its URL; None means the one that `dataver.open()` opens.
            storage_options: as for `dataver.open`, if `repo` is not a repository.

        Raises:
            NotFound: no such version.
            PathNotFound: the globs match no file, or a path of the listing does not exist.
            InvalidInput: an argument is not valid.
        """
        found = _open(repo, storage_options)
        files = found.files(ref, run=run)
        self._source = SampleSource(
            found._core, files, include, listing, shard, decode, exclude=exclude, opened=opened
        )
        self._announced = False

    def __len__(self) -> int:
        return len(self._source.listing)

    def __getitem__(self, number: int) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples; a `DataLoader` requests a batch."""
        source = self._source
        group = source.named(numbers)
        if not self._announced:
            source.announce()
            self._announced = True
        files = source.files if len(group) == 1 else source.files.in_current_run()
        if source.opened:
            return [source.sample(path, files.open(path)) for path, _ in group]
        found: Iterable[bytes]
        if files.fetched:  # one at a time, so that the buffer stays in the CPU cache
            found = files.read_each(group)
        else:
            found = files.read_many([(path, 0, None) for path, _ in group])
        return [source.sample(path, data) for (path, _), data in zip(group, found, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_announced": False}


class FileStream(_OfVersion, IterableDataset[Any]):
    """Iterable dataset of the files of a version.

    The workers of a `DataLoader` divide the files, by bytes. While the files of one group are yielded, a
    thread reads the next group: `memory` bounds the bytes of both, for each worker, except that a single file
    is always kept whole. If this machine has fetched the version, files are read one by one.

    `Loader` changes the order in each epoch and resumes within one. With a `DataLoader`, call `set_epoch`
    before each epoch.

    Attributes:
        paths: the paths of this reader, by index.
        files: the files of the version.
    """

    def __init__(
        self,
        ref: Ref,
        *,
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] = (),
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
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Select files and their order; see `FileDataset` for the other arguments.

        Args:
            ref: the version.
            include: globs.
            exclude: globs of files to leave out.
            listing: exact paths instead.
            shard: the part of one of several readers.
            decode: returns a sample.
            opened: pass it an open file.
            shuffle: use another order in each epoch; else path order, or that of the listing.
            seed: seed of the orders; the same for all readers.
            memory: bytes per worker: files within half of it are shuffled together, taken from runs of
                adjacent files (2 MB each) of the whole version.
            even: "drop" or "repeat": each reader gets as many files as the one with the fewest, or the most,
                so that none waits for another at the end of an epoch. None: each its own part.
            run: the run.
            repo: the repository.
            storage_options: options of its store.
        """
        found = _open(repo, storage_options)
        files = found.files(ref, run=run)
        self._source = SampleSource(
            found._core, files, include, listing, shard, decode, exclude=exclude, opened=opened
        )
        self._plan = Plan(self._source.listing, shuffle, seed, max(memory // 2, 1), even).checked()
        self._shared = torch.zeros(1, dtype=torch.int64).share_memory_()  # the epoch
        self._starts: torch.Tensor | None = (
            None  # set by a `Loader`: start of each worker's share, then the first worker
        )
        self._position = 0
        self._resumed: tuple[int, int] | None = None

    @property
    def epoch(self) -> int:
        """The next epoch, which determines the order."""
        return int(self._shared[0])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, also in living workers."""
        self._shared[0] = epoch

    def __len__(self) -> int:
        """Return the number of samples of an epoch, of all workers."""
        return self._plan.files()

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch, start = self.epoch, 0
        if self._starts is not None:
            number = (number + int(self._starts[-1])) % workers
            start = int(self._starts[number])
        if self._resumed is not None:
            epoch, start = self._resumed
            self._resumed = None
        source = self._source
        source.announce()
        self._position = start
        turn = self._plan.turn(epoch, number, workers)
        groups = map(source.named, turn.groups(start))
        for path, data in contents(source.files, groups, opened=source.opened):
            self._position += 1
            yield source.sample(path, data)
        self._position = 0 if worker is None else self._position

    def workers_have(self, workers: int) -> list[int]:
        """Return the number of samples of the epoch for each worker."""
        return self._plan.shares(self.epoch, workers)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this process, for torchdata's `StatefulDataLoader`."""
        return {"epoch": self.epoch, "position": self._position, **self._source.identity(self._plan)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the position of `state_dict`.

        Raises:
            InvalidInput: the state is of another version, seed or selection of files.
        """
        self._source.check_state(state, self._plan)
        self.set_epoch(state["epoch"])
        self._resumed = state["epoch"], state["position"]


class FileSampler(Sampler[int]):
    """The order of a `FileStream` for a `FileDataset`: indexes of files, by epoch."""

    def __init__(
        self,
        dataset: FileDataset,
        *,
        shuffle: bool = False,
        seed: int = 0,
        together: int | None = MEMORY // 2,
        even: Even | None = None,
    ) -> None:
        """Set the order.

        Args:
            dataset: the files.
            shuffle: use another order in each epoch.
            seed: seed of the orders.
            together: bytes of files that are shuffled together, taken from runs of adjacent files; None
                shuffles all files individually.
            even: see `FileStream`.
        """
        self._source = dataset._source
        self._plan = Plan(dataset.paths, shuffle, seed, together, even).checked()
        self.epoch = 0
        self._position = self._start = 0

    def __repr__(self) -> str:
        return f"FileSampler({self._source.files.ref!r}, epoch={self.epoch})"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch."""
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
        """Skip the first files of the next epoch, which were read before."""
        self._start = position

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's position, which is ahead of a loader with workers."""
        return {"epoch": self.epoch, "position": self._position, **self._source.identity(self._plan)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the position of `state_dict`.

        Raises:
            InvalidInput: the state is of another version, seed or selection of files.
        """
        self._source.check_state(state, self._plan)
        self.epoch, self._start = state["epoch"], state["position"]


class Loader(DataLoader[Any]):
    """A `DataLoader` that counts epochs and resumes within one.

    Accepts a `FileStream`, or a `FileDataset` (with a `FileSampler` or in order), and `DataLoader`'s
    arguments. Each pass is an epoch, even if it ends early: the next pass has another order, unless
    `load_state_dict` sets a position.
    """

    def __init__(self, dataset: FileStream | FileDataset, batch_size: int | None = 1, **options: Any) -> None:
        """Accept the arguments of `DataLoader`, except for the order, which the stream or sampler has.

        Raises:
            InvalidInput: an order was passed in which the loader cannot resume.
        """
        if not isinstance(dataset, FileStream | FileDataset):
            raise InvalidInput("a Loader needs a FileStream or a FileDataset.")
        if options.pop("shuffle", False) or "batch_sampler" in options:
            raise InvalidInput(
                "the order of a Loader is set by its FileStream or FileSampler.",
                hint="pass shuffle=True to that",
            )
        collate = options.pop("collate_fn", None) or (
            default_collate if batch_size is not None else _as_it_is
        )
        if isinstance(dataset, FileDataset):
            sampler = options.setdefault("sampler", FileSampler(dataset))
            if not isinstance(sampler, FileSampler):
                raise InvalidInput("the sampler of a Loader must be a FileSampler.")
            self._order: FileStream | FileSampler = sampler
        else:
            self._order = dataset
            workers = max(int(options.get("num_workers", 0)), 1)
            dataset._starts = torch.zeros(workers + 1, dtype=torch.int64).share_memory_()
        self._positions = [0] * max(int(options.get("num_workers", 0)), 1)
        self._turn = 0  # the worker of the next batch
        self._going_on = False
        self._begun: int | None = None  # the epoch of a pass that has not ended
        super().__init__(dataset, batch_size, collate_fn=_Counted(collate, batch_size is not None), **options)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        if isinstance(self._order, FileSampler) or self.batch_size is None:
            batches: int = super().__len__()
            return batches
        size, short = self.batch_size, 0 if self.drop_last else self.batch_size - 1
        return sum((samples + short) // size for samples in self._order.workers_have(len(self._positions)))

    def __iter__(self) -> Any:
        """Yield the batches of an epoch, or of the rest of one."""
        if not self._going_on:
            if self._begun == self._order.epoch and any(self._positions):
                self._order.set_epoch(self._order.epoch + 1)
            self._positions, self._turn = [0] * len(self._positions), 0
        self._going_on = False
        self._begun = self._order.epoch
        if isinstance(self._order, FileStream):
            starts = self._order._starts
            assert starts is not None
            starts.copy_(torch.tensor([*self._positions, self._turn], dtype=torch.int64))
        else:
            self._order.begin_at(self._positions[0])
        self.dataset._source.announce()  # in this process, so that workers add to its report
        return self._batches(super().__iter__())

    def _batches(self, found: Iterator[Any]) -> Iterator[Any]:
        shares, first = len(self._positions), self._turn
        for worker, samples, batch in found:
            place = (worker + first) % shares if isinstance(self._order, FileStream) else 0
            self._positions[place] += samples
            self._turn = (place + 1) % shares
            yield batch
        self._positions, self._turn, self._begun = [0] * shares, 0, None
        self._order.set_epoch(self._order.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's position: after the last batch that it yielded."""
        order = self._order
        said = order._source.identity(order._plan)
        return {"epoch": order.epoch, "positions": list(self._positions), "turn": self._turn, **said}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, with the next pass, at the position of `state_dict`.

        Raises:
            InvalidInput: the state is of another version, seed, selection of files or number of workers.
        """
        order, positions = self._order, list(state["positions"])
        order._source.check_state(state, order._plan)
        if isinstance(order, FileStream) and len(positions) != len(self._positions):
            raise InvalidInput(
                f"the saved state is of {len(positions)} workers, this loader has {len(self._positions)}.",
                hint="workers divide a stream's files: use the same number",
            )
        self._positions = positions if isinstance(order, FileStream) else positions[:1] + self._positions[1:]
        self._turn = state.get("turn", 0)
        self._going_on = True
        order.set_epoch(state["epoch"])


class _Counted:
    """Collates a batch, and adds its worker and its number of samples."""

    def __init__(self, collate: Callable[[Any], Any], batched: bool) -> None:
        self._collate, self._batched = collate, batched

    def __call__(self, samples: Any) -> tuple[int, int, Any]:
        worker = get_worker_info()
        count = len(samples) if self._batched else 1
        return (0 if worker is None else worker.id), count, self._collate(samples)


def _as_it_is(sample: Any) -> Any:
    return sample
