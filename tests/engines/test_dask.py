"""Dask on a cluster of processes: versions equal to those of one process, whatever happens to workers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from dask import array, bag, dataframe
from dask.delayed import delayed
from distributed import Client, LocalCluster

import dataver
from dataver.integrations.cluster import Job, joined, table_task
from dataver.integrations.dask import add_files, from_version, read_files, to_dataver
from dataver.machine.store_clock import store_now
from waiting import until

from .conftest import block, linked

ROWS = 6000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two worker processes with one thread each."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def table() -> pd.DataFrame:
    """A table of three columns."""
    numbers = np.arange(ROWS)
    return pd.DataFrame({"station": numbers % 7, "temperature": numbers * 0.25, "name": numbers.astype(str)})


def test_files_make_the_version_of_one_process(
    repo: dataver.Repository, client: Client, source: Path
) -> None:
    """Published once, in the tree of `Draft.add`."""
    draft = repo.create("d")
    report = add_files(draft, source, folder="x", tasks=5)
    assert (report.parts, report.entries) == (5, 80)
    alone = repo.create("alone")
    alone.add(source, dest="x")
    assert draft.tree.digest == alone.tree.digest
    draft.finalize("x")
    version = draft.upload().version
    assert read_files(version.ref, tasks=3, repo=repo).compute() == [
        (entry.path, version.read(entry.path)) for entry in version.entries()
    ]
    assert repo.verify("d").ok


def test_collections_make_the_version_of_one_process(repo: dataver.Repository, client: Client) -> None:
    """Dataframes, bags and arrays: the digest is that of a scheduler without workers; read back the same."""
    frame = dataframe.from_pandas(table(), npartitions=4)
    numbers = bag.from_sequence([{"n": number} for number in range(100)], npartitions=3)
    matrix = array.arange(10_000, chunks=2_500).reshape(100, 100).rechunk((50, 100))
    digests = []
    for how in ({}, {"scheduler": "synchronous"}):
        draft = repo.create("weather")
        with dask.config.set(**how):
            to_dataver(frame, draft, "table")
            to_dataver(numbers, draft, "lines")
            to_dataver(matrix, draft, "matrix")
        digests.append(draft.tree.digest)
    assert digests[0] == digests[1]
    draft.finalize("x")
    version = draft.upload().version
    read = from_version(version.ref, columns=["temperature"], filters=[("station", "==", 3)], include="table")
    expected = table()[lambda rows: rows.station == 3]
    assert read.compute().temperature.tolist() == expected.temperature.tolist()
    assert list(read.columns) == ["temperature"]
    lines = read_files(version.ref, lambda files, path: len(files.read(path).splitlines()), include="lines")
    assert sum(lines.compute()) == 100
    with version.open("matrix/1.0.npy") as file:
        assert (np.load(file) == matrix[50:].compute()).all()
    with pytest.raises(dataver.InvalidInput, match="no Parquet file"):
        from_version(version.ref, include="lines")


def killed_once(job: Job, rows: pd.DataFrame, path: str, marker: str) -> str:
    """Write a table; the first attempt dies after its packs were sent."""
    part = table_task(job, rows, path, {})
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return part
    os.kill(os.getpid(), signal.SIGKILL)
    return part


def test_a_worker_that_is_killed_changes_nothing(
    repo: dataver.Repository, client: Client, tmp_path: Path
) -> None:
    """Dask computes its task again, on another worker."""
    frame = dataframe.from_pandas(table(), npartitions=4)
    digests = []
    for marker in (tmp_path / "killed", tmp_path):  # the second exists: no attempt dies
        draft = repo.create("d")
        job = Job.of(draft)
        jobs = [
            delayed(killed_once)(job, part, f"part-{number:05}.parquet", str(marker))
            for number, part in enumerate(frame.to_delayed())
        ]
        joined(draft, dask.compute(*jobs))
        digests.append(draft.tree.digest)
    assert digests[0] == digests[1]
    assert (tmp_path / "killed").exists()
    draft.finalize("x")
    assert draft.upload().version.file_count == 4
    assert repo.verify("d").ok


def test_errors_of_workers_reach_the_driver(repo: dataver.Repository, client: Client, tmp_path: Path) -> None:
    """A worker without the right to write, a token that expired, a file that only the driver sees."""
    draft = repo.create("d")
    if repo.url.startswith("s3:"):
        (token,) = draft.fork(1)
        wrong = {"key": "nobody", "secret": "nothing"}
        with pytest.raises(dataver.StoreError):
            client.submit(dataver.join_draft, token, storage_options=wrong).result()
    (token,) = draft.fork(1, hours=1e-7)
    begun = store_now(repo._core.store)
    until(lambda: store_now(repo._core.store) > begun)  # a server's clock shows seconds
    with pytest.raises(dataver.InvalidInput, match="expired"):
        client.submit(dataver.join_draft, token).result()
    before = draft.tree.digest
    with pytest.raises(dataver.PathNotFound):
        add_files(draft, tmp_path / "none")
    with pytest.raises(dataver.InvalidInput, match="no collection of Dask"):
        to_dataver([1], draft)
    assert draft.tree.digest == before


def test_workers_need_no_endpoint_of_their_own(
    repo: dataver.Repository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the driver's repository reaches every kind of task, without its secrets."""
    monkeypatch.delenv("DATAVER_REPO")
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    options = {"endpoint_url": endpoint} if repo.url.startswith("s3:") else None
    there = dataver.open(repo.url, storage_options=options)
    draft = there.create("d")
    with dask.config.set(scheduler="synchronous"):
        add_files(draft, source, folder="files")
        to_dataver(dataframe.from_pandas(table(), npartitions=2), draft, "table")
        to_dataver(bag.from_sequence([1, 2]), draft, "lines")
        to_dataver(array.arange(10), draft, "matrix")
        draft.finalize("x")
        version = draft.upload().version
        assert len(from_version(version.ref, repo=there).compute()) == ROWS
        assert read_files(version.ref, include="lines", repo=there).count().compute() == 2


def test_the_reads_of_all_workers_belong_to_one_run(
    repo: dataver.Repository, client: Client, source: Path
) -> None:
    """With the files that they read, and no other run."""
    version = repo.sync(source, "d").version
    with dataver.run("train") as run:
        read_files(version.ref, lambda files, path: len(files.read(path)), include="3/**", tasks=4).compute()
    found = until(lambda: linked(repo))
    assert list(found) == [run.key]
    assert all(path.startswith("3/") for path in found[run.key])


def test_the_page_runs(repo: dataver.Repository, client: Client, source: Path) -> None:
    """As it is written in docs/engines.md."""
    names = {"repo": repo, "frame": dataframe.from_pandas(table(), npartitions=2)}
    draft = repo.create("weather")
    half = table()[: ROWS // 2]
    to_dataver(dataframe.from_pandas(half, npartitions=2), draft, "table")
    with draft.open("photos/first", "wb") as file:
        file.write(b"no photo yet")
    draft.finalize(label="1.2.0")
    draft.upload()
    code = block("Dask", "/shared/photos", str(source))
    exec(code, names)
    assert names["version"].file_count == 83
    assert len(names["frame"].compute()) == len(half[lambda rows: rows.station == 3])
    assert sum(names["sizes"].compute()) == len(b"no photo yet")
