"""Versions made and read by a real Ray cluster of this machine."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from pyarrow import parquet
from ray.data.datasource import Partitioning, PathPartitionFilter, SaveMode
from ray.data.expressions import col

import dataver
from dataver.errors import InvalidInput, StoreError
from dataver.integrations import parquet_pieces
from dataver.integrations.ray import VersionDatasink, VersionDatasource, add_files
from dataver.tree.selection import Selection
from servers import Server
from servers.identities import environment_of
from waiting import until

from .conftest import block

for _module in (__name__, "waiting"):  # which workers cannot import
    ray.cloudpickle.register_pickle_by_value(sys.modules[_module])

Place = Callable[[str], dataver.Repository]


@pytest.fixture(scope="module")
def cluster(seaweedfs_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of two workers, which are another machine: they share no cache with this process."""
    machine = tmp_path_factory.mktemp("machine")
    environment = {
        **{name: value for name, value in os.environ.items() if name == "PATH"},
        **{f"DATAVER_{name}": str(machine / name) for name in ("CACHE", "STATE")},
        **seaweedfs_server.environment,
        "DATAVER_LINEAGE": "off",
    }
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": environment},
        _temp_dir=f"/tmp/ray-{os.getpid()}",  # paths of sockets are short
    )
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
    shutil.rmtree(f"/tmp/ray-{os.getpid()}", ignore_errors=True)


@pytest.fixture(params=["folder", "seaweedfs"])
def place(
    request: pytest.FixtureRequest,
    cluster: None,
    seaweedfs_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dataver.Repository:
    """A new repository: in a folder that all nodes have, and in a bucket."""
    for name, value in seaweedfs_server.environment.items():
        monkeypatch.setenv(name, value)
    folder = request.param == "folder"
    return dataver.init(str(tmp_path / "repo") if folder else seaweedfs_server.url(tmp_path.name))


@pytest.fixture
def repo(cluster: None, tmp_path: Path) -> dataver.Repository:
    """A new repository in a folder."""
    return dataver.init(tmp_path / "repo")


def fill(folder: Path, count: int, size: int = 3000) -> Path:
    """Write files of noise; return the folder."""
    noise = random.Random(folder.name)
    for number in range(count):
        path = folder / f"{number % 7}" / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(size))
    return folder


def alone(repo: dataver.Repository, name: str, *files: tuple[str, pa.Table]) -> dataver.Version:
    """Return the version of these tables that one process makes."""
    draft = repo.create(name, workspace=Path(os.environ["HOME"]))
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        for path, table in files:
            worker.add_dataframe(table, path)
        draft.join([worker.finish()])
    draft.finalize("alone")
    return draft.upload().version


def table(start: int, rows: int = 1000) -> pa.Table:
    """Return rows of a number, a float and a text."""
    numbers = range(start, start + rows)
    return pa.table(
        {"n": numbers, "x": [n * 0.5 for n in numbers], "text": [f"row {n}" * 20 for n in numbers]}
    )


def names(version: dataver.Version) -> list[str]:
    return [entry.path for entry in version.entries()]


def packs(repo: dataver.Repository) -> list[str]:
    return [info.key for info in repo._core.store.list("packs/")]


# before `cluster` begins: these start clusters of their own

LINEAGE = """
import dataver, ray
from ray.data.datasource import SaveMode
from dataver.integrations.ray import VersionDatasink, VersionDatasource

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir="TEMP")
with dataver.run("etl", key="test:etl"):
    rows = ray.data.read_datasource(VersionDatasource("t@1.0.0", include="a/**"), override_num_blocks=6)
    rows.write_datasink(VersionDatasink("copy"))
ray.shutdown()
"""


def test_a_job_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It read the files that its tasks read, and produced one version; its workers are no runs."""
    for name in ("CACHE", "STATE", "REPO"):
        monkeypatch.setenv(f"DATAVER_{name}", str(tmp_path / name))
    repo = dataver.init(tmp_path / "REPO")
    alone(
        repo, "t", *((f"{folder}/{number}.parquet", table(number)) for folder in "ab" for number in range(6))
    )
    monkeypatch.delenv("DATAVER_LINEAGE")
    code = LINEAGE.replace("TEMP", f"/tmp/ray-{os.getpid()}-run")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    shutil.rmtree(f"/tmp/ray-{os.getpid()}-run")
    until(lambda: repo.lineage.sync() and not list(tmp_path.glob("STATE/lineage/*/queue/*.json")))
    (run,) = repo.lineage.runs(everything=True)
    assert (run.key, run.name, run.outcome) == ("test:etl", "etl", "finished")
    found = repo.lineage.run(run.key)
    read = {path for link in found.inputs for path in link.subset.paths}
    for link in found.inputs:
        if link.subset.patterns:
            read.update(filter(Selection(link.subset.patterns).matcher(), names(repo.version("t@1.0.0"))))
    assert read == {f"a/{number}.parquet" for number in range(6)}
    assert [(link.dataset, link.label) for link in found.outputs] == [("copy", "1.0.0")]


# on `cluster`


def test_tasks_over_files_make_the_version_that_one_process_makes(
    place: dataver.Repository, tmp_path: Path
) -> None:
    """The same digest, whatever the number of tasks."""
    source = fill(tmp_path / "src", 100)
    draft = place.create("d", workspace=tmp_path / "driver")
    assert add_files(draft, source, folder="in", tasks=5).entries == 100
    digest = draft.finalize("x").digest
    draft.upload()
    one = place.create("one", workspace=tmp_path / "one")
    one.add(source, dest="in")
    assert one.finalize("x").digest == digest
    assert place.verify("d").ok


def test_a_worker_that_is_killed_among_others(repo: dataver.Repository, tmp_path: Path) -> None:
    """Ray repeats its task: the version is the same, and its lost packs are garbage."""
    source = fill(tmp_path / "src", 600, 100_000)
    draft = repo.create("d", workspace=tmp_path / "driver")
    failed: list[BaseException] = []

    def add() -> None:
        try:
            add_files(draft, source, tasks=20)
        except BaseException as error:
            failed.append(error)
            raise

    adding = threading.Thread(target=add)
    adding.start()
    until(lambda: packs(repo))
    os.kill(until(busy), signal.SIGKILL)
    assert adding.is_alive()
    adding.join()
    assert not failed
    one = repo.create("one", workspace=tmp_path / "one")
    one.add(source)
    assert draft.finalize("x").digest == one.finalize("x").digest


def busy() -> int | None:
    """Return the process number of a worker that executes a task of `add_files`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"ray::add_task"):
                above = parent(parent(int(path.name)))
                if above == os.getpid():  # of this cluster: the worker's parent is the raylet
                    return int(path.name)
        except OSError:
            continue  # it ended
    return None


def parent(number: int) -> int:
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_worker_that_may_not_write(
    seaweedfs_server: Server, cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, nothing is published, and the driver's draft is as it was."""
    for name, value in seaweedfs_server.environment.items():
        monkeypatch.setenv(name, value)
    repo = dataver.init(seaweedfs_server.url(tmp_path.name))
    things = f"arn:aws:s3:::{seaweedfs_server.bucket}"
    allowed = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [things, f"{things}/*"],
    }
    reader = environment_of(seaweedfs_server, {"Version": "2012-10-17", "Statement": [allowed]})
    remote = {"runtime_env": {"env_vars": reader}}
    draft = repo.create("d", workspace=tmp_path / "driver")
    with pytest.raises(StoreError, match="this worker cannot write to"):
        add_files(draft, fill(tmp_path / "src", 3), **remote)
    assert not draft.changed
    sink = VersionDatasink("t", repo=repo)
    with pytest.raises(Exception, match="this worker cannot write to"):
        ray.data.range(10).write_datasink(sink, ray_remote_args=remote)
    assert repo.datasets() == []
    assert sink.version is None


def test_a_dataset_becomes_one_version(place: dataver.Repository) -> None:
    """It equals that of one process, which writes the same tables; equal rows make no further version."""
    tables = [table(0), table(1000), table(2000, 0), table(3000)]
    sink = VersionDatasink("t", folder="day", mode=SaveMode.OVERWRITE, message="first", repo=place)
    ray.data.from_arrow(tables).write_datasink(sink)
    version = place.version("t@latest")
    assert sink.version == version
    assert version.message == "first"
    files = [(f"day/{number:06}.parquet", each) for number, each in enumerate(t for t in tables if len(t))]
    assert version.digest == alone(place, "alone", *files).digest
    ray.data.from_arrow(tables).write_datasink(sink)
    assert sink.version == version == place.version("t@latest")
    shorter = VersionDatasink("t", folder="day", mode=SaveMode.OVERWRITE, repo=place)
    ray.data.from_arrow([table(0), table(5)]).write_datasink(shorter)
    assert names(place.version("t@latest")) == ["day/000000.parquet", "day/000001.parquet"]
    assert [each.label for each in place.version("t@latest").parents] == [version.label]


def test_modes_of_a_sink(repo: dataver.Repository) -> None:
    """APPEND keeps what is there under other names, ERROR refuses, others do not exist."""
    for _ in range(2):
        ray.data.from_arrow([table(0)]).write_datasink(VersionDatasink("t", repo=repo))
    found = VersionDatasource("t@latest", repo=repo)
    assert ray.data.read_datasource(found).sum("n") == 2 * sum(range(1000))
    with pytest.raises(InvalidInput, match="holds files"):
        ray.data.range(3).write_datasink(VersionDatasink("t", mode=SaveMode.ERROR, repo=repo))
    sink = VersionDatasink("t", folder="new", mode=SaveMode.ERROR, min_rows_per_file=10, repo=repo)
    ray.data.range(10).write_datasink(sink)
    assert len(names(repo.version("t@latest"))) == 3
    with pytest.raises(InvalidInput, match="mode"):
        VersionDatasink("t", mode=SaveMode.UPSERT, repo=repo)


class KilledOnce(VersionDatasink):
    """Kills the process of its second task after that has sent its packs, once."""

    def __init__(self, flag: Path, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.flag = flag

    def write(self, blocks: object, ctx: object) -> object:
        part = super().write(blocks, ctx)
        if ctx.task_idx == 1:
            try:
                self.flag.touch(exist_ok=False)
            except FileExistsError:
                return part
            os.kill(os.getpid(), signal.SIGKILL)
        return part


def test_a_write_task_that_is_killed_is_repeated(repo: dataver.Repository, tmp_path: Path) -> None:
    """After it has sent its packs: the second attempt writes the same path, once."""
    sink = KilledOnce(tmp_path / "flag", "t", mode=SaveMode.OVERWRITE, repo=repo)
    tables = [table(0), table(1000), table(2000)]
    ray.data.from_arrow(tables).write_datasink(sink)
    assert (tmp_path / "flag").exists()
    files = [(f"{number:06}.parquet", each) for number, each in enumerate(tables)]
    assert sink.version is not None
    assert sink.version.digest == alone(repo, "alone", *files).digest
    assert repo.verify().ok


def test_a_job_that_fails_leaves_packs_only(repo: dataver.Repository, tmp_path: Path) -> None:
    """No version, no draft, no mark; gc deletes the packs."""

    def broken(batch: pa.Table) -> pa.Table:
        if batch["n"][0].as_py() == 2000:
            until(lambda: packs(repo_of(tmp_path)))
            raise ValueError("a broken row")
        return batch

    sink = VersionDatasink("t", repo=repo)
    rows = ray.data.from_arrow([table(0), table(1000), table(2000)])
    with pytest.raises(Exception, match="a broken row"):
        rows.map_batches(broken, batch_format="pyarrow", batch_size=None).write_datasink(sink)
    assert packs(repo)
    assert repo.datasets() == []
    assert not list((tmp_path / "repo/keeping/parts").rglob("fork*"))
    assert not list(Path(os.environ["HOME"]).rglob(".dataver"))


def repo_of(tmp_path: Path) -> dataver.Repository:
    return dataver.open(str(tmp_path / "repo"))


def test_a_token_that_expired(repo: dataver.Repository) -> None:
    """The tasks refuse it, and nothing is published."""
    sink = VersionDatasink("t", hours=1e-7, repo=repo)
    with pytest.raises(Exception, match="expired at"):
        ray.data.range(10).write_datasink(sink)
    assert repo.datasets() == []
    assert not packs(repo)


def test_a_version_is_read(place: dataver.Repository) -> None:
    """All rows in path order; counts, columns and filters as of Ray's own readers."""
    files = [(f"year={2020 + number % 2}/{number}.parquet", table(1000 * number)) for number in range(6)]
    version = alone(place, "t", *files)
    rows = ray.data.read_datasource(VersionDatasource(version.ref, repo=place), override_num_blocks=3)
    order = [0, 2, 4, 1, 3, 5]
    wanted = [n for number in order for n in range(1000 * number, 1000 * number + 1000)]
    assert [row["n"] for row in rows.take_all()] == wanted
    assert rows.schema().names == ["n", "x", "text", "year"]
    assert rows.count() == 6000
    some = rows.filter(expr=(col("year") == "2021") & (col("n") < 3010)).select_columns(["n", "year"])
    assert some.take_all() == [{"n": n, "year": "2021"} for n in (*range(1000, 2000), *range(3000, 3010))]
    few = VersionDatasource("t@latest", include="year=2020/**", columns=["x"], repo=place)
    assert ray.data.read_datasource(few).sum("x") == sum(wanted[:3000]) * 0.5
    assert ray.data.read_datasource(few).schema().names == ["x"]
    with pytest.raises(InvalidInput, match="no column 'nope'"):
        VersionDatasource(version.ref, columns=["nope"], repo=place)


def test_other_files_beside_tables(repo: dataver.Repository, tmp_path: Path) -> None:
    """They are left out, also of partition filters; selected alone, they are rows of bytes."""
    version = alone(repo, "t", ("year=2020/a.parquet", table(0)), ("year=2021/a.parquet", table(5)))
    (tmp_path / "README.md").write_text("about these tables")
    draft = repo.create("t", parents=version.ref, workspace=tmp_path / "w")
    draft.add(tmp_path / "README.md")
    draft.finalize("x")
    ref = draft.upload().version.ref
    assert ray.data.read_datasource(VersionDatasource(ref, repo=repo)).count() == 2000
    only = PathPartitionFilter.of(lambda found: found["year"] == "2021")
    some = VersionDatasource(ref, partition_filter=only, repo=repo)
    assert ray.data.read_datasource(some).sum("n") == sum(range(5, 1005))
    about = VersionDatasource(ref, include="*.md", repo=repo)
    assert ray.data.read_datasource(about).take_all() == [
        {"bytes": b"about these tables", "path": "README.md"}
    ]


def test_partitions_reach_the_reader(repo: dataver.Repository) -> None:
    """Files of other partitions are in no task, by a filter of rows or of paths."""
    files = [(f"year={2020 + number}/{number}.parquet", table(number)) for number in range(4)]
    version = alone(repo, "t", *files)
    years = Partitioning("hive", field_types={"year": int})
    source = VersionDatasource(version.ref, partitioning=years, repo=repo)
    for wanted in ((col("year") >= 2022), (col("year") == 2021) & (col("n") > 5)):
        tasks = source.apply_predicate(wanted).get_read_tasks(8)
        found = [path for task in tasks for path in task.metadata.input_files]
        assert (
            found == [path for path, _ in files if (path[5:9] >= "2022") == (len(found) > 1)][-len(found) :]
        )
        assert all(task.metadata.num_rows is None for task in tasks)
    only = PathPartitionFilter.of(lambda found: found["year"] == "2023")
    (task,) = VersionDatasource(version.ref, partition_filter=only, repo=repo).get_read_tasks(8)
    assert task.metadata.input_files == ("year=2023/3.parquet",)


def test_only_selected_columns_are_read(
    repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a file with one wide and one narrow column, a small part of the bytes comes from the store."""
    noise = random.Random(1)
    wide = pa.table({"n": range(2000), "data": [noise.randbytes(5000) for _ in range(2000)]})
    version = alone(repo, "t", ("a.parquet", wide))
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "another-machine"))
    read: list[int] = []
    files = repo.files(version.ref)
    real = type(files).read_opened

    def counted(self: object, path: str, start: int, stop: int) -> bytes:
        read.append(stop - start)
        return real(self, path, start, stop)

    monkeypatch.setattr(type(files), "read_opened", counted)
    (task,) = VersionDatasource(version.ref, columns=["n"], repo=repo).get_read_tasks(1)
    assert sum(block.num_rows for block in task()) == 2000
    assert 0 < sum(read) < version.size / 5


def test_a_large_file_is_read_by_several_tasks(
    repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its row groups, whose rows are known before they are read."""
    parquet.write_table(table(0, 10_000), tmp_path / "large.parquet", row_group_size=1000)
    parquet.write_table(table(10_000, 10), tmp_path / "small.parquet")
    draft = repo.create("t", workspace=tmp_path / "w")
    draft.add(tmp_path / "large.parquet", tmp_path / "small.parquet")
    draft.finalize("x")
    draft.upload()
    monkeypatch.setattr(parquet_pieces, "_SPLIT", 1)
    source = VersionDatasource("t@latest", repo=repo)
    tasks = source.get_read_tasks(4)
    assert 3 <= len(tasks) <= 4
    assert [n for task in tasks for block in task() for n in block["n"].to_pylist()] == list(range(10_010))
    assert all(task.metadata.num_rows == sum(block.num_rows for block in task()) for task in tasks[:-1])
    rows = ray.data.read_datasource(source, override_num_blocks=4)
    assert rows.count() == 10_010


def test_other_files_are_rows_of_bytes(place: dataver.Repository, tmp_path: Path) -> None:
    """As Ray's binary reader makes them; without the column of bytes no file is read."""
    draft = place.create("d", workspace=tmp_path / "w")
    draft.add(fill(tmp_path / "src", 20))
    draft.finalize("x")
    version = draft.upload().version
    rows = ray.data.read_datasource(VersionDatasource(version.ref, repo=place))
    found = {row["path"]: row["bytes"] for row in rows.take_all()}
    assert found == {path: version.read(path) for path in names(version)}
    (task,) = VersionDatasource(version.ref, columns=["path"], include="1/**", repo=place).get_read_tasks(1)
    assert [block.column_names for block in task()] == [["path"]]
    assert task.metadata.num_rows == sum(path.startswith("1/") for path in found)
    with pytest.raises(InvalidInput, match="no column 'x'") as caught:
        VersionDatasource(version.ref, columns=["x"], repo=place)
    assert caught.value.hint == "choose from bytes, path"


def test_the_page_runs(repo: dataver.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written in docs/engines.md."""
    days = table(0).rename_columns(["n", "temperature", "text"])
    alone(repo, "weather", ("year=2025/a.parquet", days), ("year=2026/a.parquet", days))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repo.url)
    found: dict[str, Any] = {}
    code = block("Ray", "/shared/photos", str(fill(tmp_path / "photos", 20)))
    exec(code.replace("weather@1.2.0", "weather@1.0.0"), found)
    version = repo.version("weather@latest")
    assert version.message == "July"
    assert found["warm"].count() == 1000 - 41
    assert all(path.startswith(("year=", "2026/")) for path in names(version))
    assert found["draft"].tree.summary().files == 20
