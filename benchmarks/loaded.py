"""What the peers of `benchmarks.loaders` load: datasets that workers can import; samples are lengths."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from benchmarks.s3 import PLAYERS, Client

__all__ = ["Folder", "FolderStream", "Making", "Requests", "length", "mosaic", "web"]


def length(_path: str, data: bytes) -> int:
    return len(data)


class Folder(Dataset[int]):
    """Files of a folder by number."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> int:
        with open(self._paths[number], "rb") as file:
            return len(file.read())


class FolderStream(IterableDataset[int]):
    """Files of a folder in another order in each epoch; workers divide them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._epoch = 0

    def __iter__(self) -> Iterator[int]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        paths = list(self._paths)
        random.Random(self._epoch).shuffle(paths)
        self._epoch += 1
        for path in paths[number::workers]:
            with open(path, "rb") as file:
                yield len(file.read())


class Making:
    """Makes a plain client of S3 in the process that uses it."""

    def __init__(self, client: str, endpoint: str, bucket: str, options: Mapping[str, Any]) -> None:
        self._client = client
        self._where = {"endpoint": endpoint, "bucket": bucket, "options": dict(options)}

    def __call__(self) -> Client:
        where: Any = SimpleNamespace(**self._where)
        return PLAYERS[self._client][1](where)


class Requests(IterableDataset[int]):
    """Requests of a plain client, some at a time in each worker; nothing is made of what comes.

    Args:
        making: makes the client.
        requests: keys, or (key, start, length).
        threads: how many are on their way at once.
        excess: bytes that come and are no file's.
    """

    def __init__(
        self, making: Callable[[], Client], requests: Sequence[Any], threads: int, excess: int
    ) -> None:
        self._making, self._requests, self._threads, self._excess = making, requests, threads, excess

    def __iter__(self) -> Iterator[int]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        client = self._making()

        def ask(request: Any) -> int:
            return len(client.get(request) if isinstance(request, str) else client.part(*request))

        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(ask, self._requests[number::workers])
        if number == 0:
            yield -self._excess


def web(urls: Sequence[str]) -> Any:
    """Return a WebDataset of tars, shuffled as its documentation does."""
    import webdataset

    data = webdataset.WebDataset(list(urls), shardshuffle=len(urls), nodesplitter=None, empty_check=False)
    return data.shuffle(1000).map(lambda sample: len(sample["jpg"]))


def mosaic(remote: str | None, local: Path, options: Mapping[str, Any]) -> Any:
    """Return a loader of MDS shards, shuffled as by default."""
    from streaming import StreamingDataset

    class Lengths(StreamingDataset):
        def __getitem__(self, at: Any) -> int:
            return len(super().__getitem__(at)["data"])

    data = Lengths(remote=remote, local=str(local), shuffle=True, batch_size=options["batch_size"])
    return DataLoader(data, **options)
