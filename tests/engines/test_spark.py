"""Spark with two executors: versions equal to those of one process, whatever happens to tasks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession, functions

import dataver
from dataver.integrations.spark import DataverSource
from waiting import until

from .conftest import block, linked

ROWS = 6000


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A session that tries a task four times, and starts slow tasks a second time (not in `local[2]`)."""
    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.speculation", "true")
        .config("spark.speculation.minTaskRuntime", "1s")
        .config("spark.speculation.quantile", "0.5")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.python.filterPushdown.enabled", "true")
        .getOrCreate()
    )
    session.dataSource.register(DataverSource)
    yield session
    session.stop()


def table(spark: SparkSession, rows: int = ROWS) -> "DataFrame":  # noqa: F821
    """A table of four partitions."""
    numbers = spark.range(0, rows, 1, 4)
    return numbers.select(
        functions.col("id"), (numbers.id % 7).alias("station"), (numbers.id * 0.25).alias("temperature")
    )


def save(frame: "DataFrame", mode: str, dataset: str = "weather", **options: str) -> dataver.Version:  # noqa: F821
    """Write a table; return the version."""
    how = {"repo": os.environ["DATAVER_REPO"], **options}
    frame.write.format("dataver").mode(mode).options(**how).save(dataset)
    return dataver.open().version(f"{dataset}@latest")


def load(spark: SparkSession, ref: str, **options: str) -> "DataFrame":  # noqa: F821
    """Return the table of a version."""
    how = {"repo": os.environ["DATAVER_REPO"], **options}
    return spark.read.format("dataver").options(**how).load(ref)


def test_a_table_is_written_once_and_read_back(repo: dataver.Repository, spark: SparkSession) -> None:
    """With the digest of one process that writes the same partitions; modes as in Spark."""
    version = save(table(spark), "append", message="July", folder="rows")
    assert (version.label, version.message, version.file_count) == ("1.0.0", "July", 4)
    draft = repo.create("alone")
    (token,) = draft.fork(1)
    rows = table(spark).toArrow()
    with dataver.join_draft(token) as worker:
        for number in range(4):
            some = rows.slice(number * ROWS // 4, ROWS // 4)
            worker.add_dataframe(some, f"rows/part-{number:05}.parquet", compression="snappy")
        draft.join([worker.finish()])
    assert draft.finalize("x").digest == version.digest
    found = load(spark, version.ref, tasks="3")
    assert found.rdd.getNumPartitions() == 3
    assert sorted(map(tuple, found.collect())) == sorted(map(tuple, table(spark).collect()))
    assert save(table(spark, 400), "append", folder="rows").file_count == 8
    assert load(spark, "weather@latest").count() == ROWS + 400
    smaller = save(table(spark, 400), "overwrite", folder="rows")
    assert smaller.file_count == 4
    assert save(table(spark, 400), "overwrite", folder="rows") == smaller  # nothing changed
    assert load(spark, "weather@latest").count() == 400
    assert load(spark, "weather@1.0.0").count() == ROWS
    assert repo.verify("weather").ok


def test_columns_and_filters_reach_the_reader(repo: dataver.Repository, spark: SparkSession) -> None:
    """Files whose statistics exclude the filter are not read; neither are columns outside the schema."""
    version = save(table(spark), "append")
    last = load(spark, version.ref, tasks="4").where("id >= 4500").select("temperature")
    assert last.count() == 1500
    assert last.rdd.getNumPartitions() == 1
    some = spark.read.format("dataver").schema("station long").option("repo", repo.url).load(version.ref)
    assert some.where("station in (3, 4)").count() == len([n for n in range(ROWS) if n % 7 in (3, 4)])
    assert load(spark, version.ref).where("station = 99").count() == 0


def test_tasks_that_fail_and_are_killed_are_tried_again(
    repo: dataver.Repository, spark: SparkSession, tmp_path: Path
) -> None:
    """The attempt that Spark commits counts; the others leave nothing visible."""
    marker = str(tmp_path / "killed")

    def die_once(batches: Iterator["RecordBatch"]) -> Iterator["RecordBatch"]:  # noqa: F821
        for batch in batches:
            yield batch
            if batch.column("id")[0].as_py() == 0:
                try:
                    Path(marker).touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)

    frame = table(spark)
    version = save(frame.mapInArrow(die_once, frame.schema), "append")
    assert Path(marker).exists()
    assert version.digest == save(frame, "append", dataset="whole").digest
    assert repo.verify("weather").ok


def test_a_slow_task_that_is_started_twice(
    repo: dataver.Repository, spark: SparkSession, tmp_path: Path
) -> None:
    """The attempt that ends first counts; the other one, which Spark kills, changes nothing."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")

    def slow_at_first(batches: Iterator["RecordBatch"]) -> Iterator["RecordBatch"]:  # noqa: F821
        for batch in batches:
            yield batch
            if batch.column("id")[0].as_py() == 0:
                try:
                    Path(first).touch(exist_ok=False)
                except FileExistsError:
                    Path(second).touch()
                    continue
                until(lambda: False)  # is killed

    frame = table(spark)
    version = save(frame.mapInArrow(slow_at_first, frame.schema), "append")
    assert Path(second).exists()
    assert version.digest == save(frame, "append", dataset="whole").digest
    assert repo.verify("weather").ok


def test_a_job_that_fails_publishes_nothing(repo: dataver.Repository, spark: SparkSession) -> None:
    """And leaves no draft behind."""

    def fail(batches: Iterator["RecordBatch"]) -> Iterator["RecordBatch"]:  # noqa: F821
        for batch in batches:
            if batch.column("id")[0].as_py() >= 4500:
                raise ValueError("no such station")
            yield batch

    frame = table(spark)
    with pytest.raises(Exception, match="no such station"):
        save(frame.mapInArrow(fail, frame.schema), "append")
    assert not repo.datasets()
    with pytest.raises(Exception, match="changes nothing"):
        save(table(spark, 0), "append")
    assert not [info.key for info in repo._core.store.list("keeping/parts/") if "fork" in info.key]
    with pytest.raises(Exception, match=r"there is no dataset|no version"):
        load(spark, "weather@1.0.0").collect()


def test_the_reads_of_all_tasks_belong_to_one_run(repo: dataver.Repository, spark: SparkSession) -> None:
    """The run that the driver names."""
    version = save(table(spark), "append")
    with dataver.run("train") as run:
        assert load(spark, version.ref, tasks="4", run=run.key).count() == ROWS
    found = until(lambda: linked(repo))
    assert list(found) == [run.key]


def test_the_page_runs(repo: dataver.Repository, spark: SparkSession) -> None:
    """As it is written in docs/engines.md."""
    save(table(spark), "append", label="1.2.0")
    names = {"spark": spark}
    here = f'format("dataver").option("repo", "{repo.url}")'
    exec(block("Spark", 'format("dataver")', here), names)
    version = repo.version("weather@latest")
    assert (version.message, version.file_count) == ("July", 5)
    assert load(spark, version.ref).count() == 2 * ROWS
