"""Dask makes versions and reads them: files, bags, arrays and dataframes.

    draft = repo.create("weather/stations", parents="weather/stations@latest")
    to_dataver(frame, draft, "2026")              # each partition is a Parquet file, written where it is
    draft.finalize("July"), draft.upload()
    frame = from_version("weather/stations@1.2.0", columns=["station", "temperature"])

Tasks run wherever Dask's scheduler runs them. Workers need dataver, and the right to write to the repository.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import dask
import numpy as np
from dask.delayed import delayed

from dataver.errors import InvalidInput
from dataver.integrations.cluster import (
    Job,
    Reading,
    add_task,
    balanced,
    found_files,
    joined,
    part_path,
    table_task,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import dataver
    from dataver.reading.files import Files
    from dataver.tree.selection import Given

# Imports in functions: files are added without dask.dataframe and dask.bag, which are slow to import.

__all__ = ["add_files", "from_version", "read_files", "to_dataver"]


def add_files(
    draft: dataver.Draft, *sources: str | Path, folder: str = "", tasks: int | None = None
) -> dataver.JoinReport:
    """Add files and folders that all workers see at the same place, such as a shared disk.

    Args:
        draft: the draft, which gets the files.
        sources: files and folders, as for `Draft.add`; links and empty folders are left out.
        folder: folder inside the version.
        tasks: the number of tasks, each with as many bytes; None makes one for every 128 MiB.

    Raises:
        PathNotFound: a source does not exist.
        Incomplete: a file cannot be added; nothing was joined.
    """
    groups = balanced(found_files(sources, folder), tasks, lambda each: each[2])
    job = Job.of(draft)
    added = [delayed(add_task, pure=False)(job, some, number) for number, some in enumerate(groups)]
    return joined(draft, dask.compute(*added))


def to_dataver(collection: Any, draft: dataver.Draft, folder: str = "", **options: Any) -> dataver.JoinReport:
    """Write a collection into a draft: one file a partition, written by the worker that has it.

    A dataframe becomes Parquet files (`part-00000.parquet`), a bag JSON lines (`part-00000.jsonl`), an array
    one `.npy` file for each block, named by its place (`0.1.npy`). Partitions that are computed again, after
    a worker was lost, write the same files.

    Args:
        collection: a dataframe, a bag of JSON values, or an array.
        draft: the draft, which gets the files.
        folder: folder inside the version.
        options: for a dataframe, options of `pyarrow.parquet.ParquetWriter`.

    Raises:
        InvalidInput: it is none of these.
        Conflict: the draft has other content at these paths since it was forked.
    """
    job = Job.of(draft)
    kind = type(collection).__module__.split(".")
    if kind[:2] == ["dask", "bag"]:
        write: Any = _bag_task
    elif kind[:2] == ["dask", "array"]:
        blocks = collection.to_delayed()
        above = f"{folder}/" if folder else ""
        tasks = [
            delayed(_array_task, pure=False)(job, blocks[place], above + ".".join(map(str, place)) + ".npy")
            for place in np.ndindex(blocks.shape)
        ]
        return joined(draft, dask.compute(*tasks))
    elif hasattr(collection, "to_delayed") and hasattr(collection, "columns"):
        write = table_task
    else:
        raise InvalidInput(
            f"a {type(collection).__name__} is no collection of Dask.",
            hint="give a dataframe, a bag or an array",
        )
    suffix = ".parquet" if write is table_task else ".jsonl"
    tasks = [
        delayed(write, pure=False)(job, part, part_path(folder, number, suffix), options)
        for number, part in enumerate(collection.to_delayed())
    ]
    return joined(draft, dask.compute(*tasks))


def from_version(
    ref: str,
    *,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    include: Given | None = None,
    repo: dataver.Repository | str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return a dataframe of the Parquet files of a version; only needed columns and row groups are read.

    The name is resolved once, so that all tasks read the same version, and their reads belong to the run of
    this process.

    Args:
        ref: the version.
        columns: the columns to read; None means all.
        filters: as for `dask.dataframe.read_parquet`: files and row groups that cannot match are not read.
        include: globs; only matching files.
        repo: the repository; None means the one that `dataver.open()` opens.
        storage_options: as for `dataver.open`.
        options: of `dask.dataframe.read_parquet`.

    Raises:
        NotFound: there is no such version.
        PathNotFound: a glob of `include` matches no file.
        InvalidInput: it has no Parquet file.
    """
    from dask import dataframe

    reading = Reading.of(ref, repo, include, storage_options=storage_options).tables()
    paths = [f"dataver://{reading.files.ref}/{path}" for path, _ in reading.listed]
    how = {**(reading.options or {}), **(storage_options or {}), "repo": reading.url, "run": reading.run}
    return dataframe.read_parquet(paths, columns=columns, filters=filters, storage_options=how, **options)


def read_files(
    ref: str,
    read: Callable[[Files, str], Any] | None = None,
    *,
    include: Given | None = None,
    tasks: int | None = None,
    repo: dataver.Repository | str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Any:
    """Return a bag with one item for each file of a version, in path order.

    Args:
        ref: the version.
        read: returns the item, given the version's `Files` and a path; None gives `(path, bytes)`.
        include: globs; only matching files.
        tasks: number of partitions, each with as many bytes; None makes one for every 128 MiB.
        repo: the repository; None means the one that `dataver.open()` opens.
        storage_options: as for `dataver.open`.

    Raises:
        NotFound: there is no such version.
        PathNotFound: a glob of `include` matches no file.
    """
    from dask import bag

    reading = Reading.of(ref, repo, include, storage_options=storage_options)
    jobs = [delayed(_read_task)(reading.files, paths, read) for paths in reading.shares(tasks)]
    return bag.from_delayed(jobs) if jobs else bag.from_sequence([])


def _read_task(files: Files, paths: Iterable[str], read: Callable[[Files, str], Any] | None) -> list[Any]:
    return [(path, files.read(path)) if read is None else read(files, path) for path in paths]


def _bag_task(job: Job, items: Iterable[object], path: str, _options: object) -> str:
    with job.worker(path) as worker:
        with worker.open(path) as file:
            for item in items:
                file.write(json.dumps(item, separators=(",", ":")).encode() + b"\n")
        return worker.finish().to_json()


def _array_task(job: Job, block: object, path: str) -> str:
    with job.worker(path) as worker:
        with worker.open(path) as file:
            np.save(cast("Any", file), np.asarray(block), allow_pickle=False)
        return worker.finish().to_json()
