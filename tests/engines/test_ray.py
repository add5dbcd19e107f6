"""Ray on a cluster of this machine: versions equal to those of one process, whatever happens to tasks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray

import dataver
from dataver.integrations.ray import VersionDatasink, VersionDatasource, add_files

from .conftest import block

ROWS = 6000


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two cores; workers have this process's environment."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def table(start: int = 0, rows: int = ROWS) -> pa.Table:
    """Rows of a table."""
    numbers = list(range(start, start + rows))
    return pa.table({"id": numbers, "station": [n % 7 for n in numbers], "t": [n * 0.25 for n in numbers]})


def whole() -> "ray.data.Dataset":
    """The table in four blocks, in order."""
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    return ray.data.from_arrow([table(number * ROWS // 4, ROWS // 4) for number in range(4)])


def test_files_make_the_version_of_one_process(repo: dataver.Repository, cluster: None, source: Path) -> None:
    """Published once; read back as rows of path and bytes."""
    draft = repo.create("d")
    assert add_files(draft, source, dest="x", tasks=3).entries == 80
    alone = repo.create("alone")
    alone.add(source, dest="x")
    assert draft.tree.digest == alone.tree.digest
    draft.finalize("x")
    version = draft.upload().version
    data = ray.data.read_datasource(VersionDatasource(version.ref, include="x/3"), override_num_blocks=2)
    rows = data.take_all()
    assert {row["path"]: row["bytes"] for row in rows} == {
        path.relative_to(source.parent).as_posix().replace("source", "x"): path.read_bytes()
        for path in (source / "3").iterdir()
    }
    with pytest.raises(dataver.PathNotFound):
        add_files(draft, source / "none")


def test_a_table_is_written_once_and_read_back(repo: dataver.Repository, cluster: None) -> None:
    """With the digest of one process that writes the same blocks."""
    sink = VersionDatasink("weather", folder="rows", message="July")
    whole().write_datasink(sink)
    assert sink.version is not None
    version = repo.version("weather@latest")
    assert (version.message, version.file_count) == ("July", 4)
    draft = repo.create("alone")
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        for number in range(4):
            worker.add_table(table(number * ROWS // 4, ROWS // 4), f"rows/part-{number:05}.parquet")
        draft.join([worker.finish()])
    assert draft.finalize("x").digest == version.digest
    read = VersionDatasource(version.ref, columns=["t"], filters=[("id", ">=", 4500)])
    assert sorted(row["t"] for row in ray.data.read_datasource(read).take_all()) == [
        number * 0.25 for number in range(4500, ROWS)
    ]
    whole().limit(400).write_datasink(VersionDatasink("weather", folder="rows"))
    assert ray.data.read_datasource(VersionDatasource("weather@latest")).count() == ROWS + 400
    whole().limit(400).write_datasink(VersionDatasink("weather", folder="rows", overwrite=True))
    assert ray.data.read_datasource(VersionDatasource("weather@latest")).count() == 400
    assert repo.verify("weather").ok


class DiesOnce(VersionDatasink):
    """A datasink whose first attempt at a task dies after it has sent its packs."""

    def __init__(self, dataset: str, marker: Path) -> None:
        super().__init__(dataset)
        self._marker = str(marker)

    def write(self, blocks: object, ctx: object) -> str:
        """Write, and die once."""
        part = super().write(blocks, ctx)
        try:
            Path(self._marker).touch(exist_ok=False)
        except FileExistsError:
            return part
        os.kill(os.getpid(), signal.SIGKILL)
        return part


def test_a_worker_that_is_killed_changes_nothing(
    repo: dataver.Repository, cluster: None, tmp_path: Path
) -> None:
    """Ray tries its task again."""
    whole().write_datasink(DiesOnce("weather", tmp_path / "killed"), ray_remote_args={"max_retries": 3})
    assert (tmp_path / "killed").exists()
    whole().write_datasink(VersionDatasink("whole"))
    assert repo.version("weather@latest").digest == repo.version("whole@latest").digest
    assert repo.verify("weather").ok


def test_a_job_that_fails_publishes_nothing(repo: dataver.Repository, cluster: None) -> None:
    """And leaves no draft behind."""

    def fail(batch: pa.Table) -> pa.Table:
        raise ValueError("no such station")

    sink = VersionDatasink("weather")
    with pytest.raises(Exception, match="no such station"):
        whole().map_batches(fail, batch_format="pyarrow").write_datasink(sink)
    assert not repo.datasets()


def test_the_page_runs(repo: dataver.Repository, cluster: None, source: Path) -> None:
    """As it is written in docs/engines.md."""
    draft = repo.create("weather")
    (token,) = draft.fork(1)
    with dataver.join_draft(token) as worker:
        worker.add_table(table().rename_columns(["id", "station", "temperature"]), "a.parquet")
        draft.join([worker.finish()])
    draft.finalize(label="1.2.0")
    draft.upload()
    names = {"ray": ray, "repo": repo, "draft": repo.create("photos")}
    exec(block("Ray", "/shared/photos", str(source)), names)
    assert repo.version("weather@latest").message == "July"
    assert names["data"].schema().names == ["temperature"]
    assert names["draft"].tree.summary().files == 80
