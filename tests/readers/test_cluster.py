"""What the engines share, without an engine: options of tasks, Parquet files among others, publishing."""

import pickle

import pyarrow as pa
import pytest

import dataver
from dataver.errors import InvalidInput, PathNotFound, StoreError
from dataver.integrations.cluster import (
    Job,
    Reading,
    balanced,
    empty,
    holds_files,
    joined,
    published,
    table_task,
)

TABLE = pa.table({"n": range(10)})


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


def written(repo, folder, *paths, rows=10):
    """Publish tables as the job of an engine does; return the version."""
    latest = ["d@latest"] if repo.datasets() else []
    draft = repo.create("d", parents=latest, workspace=folder)
    job = Job.of(draft)
    joined(draft, [table_task(job, TABLE.slice(0, rows), path, {}) for path in paths])
    return published(repo, draft, "rows", None)


def test_tasks_open_the_store_of_the_driver(tmp_path):
    """With its endpoint, and without its secret: the token alone does not say where the bucket is."""
    options = {"endpoint_url": "http://store:9000", "secret": "sesame"}
    repo = dataver.init(f"memory://{tmp_path.name}", storage_options=options)
    job = pickle.loads(pickle.dumps(Job.of(repo.create("d", workspace=tmp_path))))
    assert "sesame" not in repr(job)
    with job.worker("task 0") as worker:
        assert worker.name == "task 0"
        assert worker._core.repository.store.plain_options == {"endpoint_url": "http://store:9000"}


def test_parquet_files_are_the_tables_of_a_version(repo, tmp_path):
    """Whatever else the version holds."""
    draft = repo.create("d", workspace=tmp_path)
    job = Job.of(draft)
    joined(draft, [table_task(job, TABLE, path, {}) for path in ("a.parquet", "b.parq", "c.pq")])
    (tmp_path / "README.md").write_text("about these tables")
    draft.add(tmp_path / "README.md")
    version = published(repo, draft, "", None)
    reading = Reading.of(version, repo, None)
    assert [path for path, _ in reading.listed] == ["README.md", "a.parquet", "b.parq", "c.pq"]
    assert [path for path, _ in reading.tables().listed] == ["a.parquet", "b.parq", "c.pq"]
    with pytest.raises(InvalidInput, match="no Parquet file"):
        Reading.of(version, repo, "*.md").tables()
    with pytest.raises(PathNotFound):
        Reading.of(version, repo, "*.csv")


def test_a_job_that_changes_nothing_makes_no_version(repo, tmp_path):
    """Its version is the latest one; without one, it is an error."""
    with pytest.raises(InvalidInput, match="changes nothing"):
        written(repo, tmp_path / "0")
    first = written(repo, tmp_path / "1", "a", "b")
    assert written(repo, tmp_path / "2", "b", "a") == first
    assert written(repo, tmp_path / "3") == first
    assert repo.versions("d") == [first]
    assert written(repo, tmp_path / "4", "a", rows=5).parents[0].label == first.label


@pytest.mark.parametrize("tasks", [1, 2, 7, 100, None])
def test_tasks_have_equal_bytes(tasks):
    """All items in order, in at most so many runs."""
    sizes = [1_000_000 * (number % 5) for number in range(50)]
    runs = balanced(sizes, tasks, lambda size: size)
    assert [size for run in runs for size in run] == sizes
    assert len(runs) <= (tasks or 1)
    assert max(map(sum, runs)) <= sum(sizes) / len(runs) + max(sizes)
    assert balanced([], tasks, lambda size: size) == []


def test_a_folder_is_emptied_by_its_name(repo, tmp_path):
    """A name with signs of patterns is no pattern; "" is the whole draft."""
    draft = repo.create("d", workspace=tmp_path)
    for path in ("run[1]/x", "run[1]/deep/y", "run1/z", "run[1].txt"):
        with draft.open(path, "w") as file:
            file.write(path)
    assert holds_files(draft, "run[1]") and not holds_files(draft, "run")
    empty(draft, "run[1]")
    assert sorted(draft.tree.paths("")) == ["run1/z", "run[1].txt"]
    empty(draft, "nothing")
    empty(draft, "")
    assert list(draft.tree.paths("")) == []
    empty(draft, "")


def test_a_version_whose_reply_was_lost_is_published_once(tmp_path, monkeypatch):
    """A second job with the same rows would append them twice."""
    repo = dataver.init(tmp_path / "repo")
    draft = repo.create("d", workspace=tmp_path)
    with draft.open("a", "w") as file:
        file.write("a")
    upload, lost = type(draft).upload, []

    def reply_lost(self):
        made = upload(self)
        if not lost:
            lost.append(made)
            raise StoreError("the connection was closed.", transient=True)
        return made

    monkeypatch.setattr(type(draft), "upload", reply_lost)
    assert published(repo, draft, "", None).ref == "d@1.0.0"
    assert [version.label for version in repo.versions("d")] == ["1.0.0"]
