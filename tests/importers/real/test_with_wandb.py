"""The real client of Weights & Biases: offline, and with a small server that answers its queries."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import wandb

import dataver
from dataver.errors import InvalidInput, StoreError
from dataver.importers import import_versions
from dataver.importers.wandb import wandb_source
from dataver.importers.wandb_log import records
from first_hour.playing import Play

from .wandb_server import WandbServer


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of its own for W&B."""
    for name in ("cache", "config", "data"):
        monkeypatch.setenv(f"WANDB_{name.upper()}_DIR", str(tmp_path / "wb" / name))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield tmp_path
    watchdog = threading.Timer(60, kill_service)
    watchdog.start()
    with suppress(SystemExit):  # of a killed service
        wandb.teardown()
    watchdog.cancel()


def kill_service() -> None:
    """Kill the process of W&B that `wandb.teardown` waits for; it may go on asking a server that is gone."""
    for tasks in Path("/proc/self/task").glob("*/children"):
        for process in tasks.read_text().split():
            if Path(f"/proc/{process}/comm").read_text().startswith("wandb"):
                os.kill(int(process), signal.SIGKILL)


def log(
    folder: Path,
    *aliases: str,
    name: str = "cats",
    kind: str = "dataset",
    tags: list[str] | None = None,
    **facts: object,
) -> str:
    """Log a folder as an artifact in an offline run; return the run's id."""
    with wandb.init(mode="offline", entity="team", project="proj", name="prepare") as run:
        artifact = wandb.Artifact(name, type=kind, **facts)
        artifact.add_dir(str(folder))
        run.log_artifact(artifact, aliases=list(aliases), tags=tags)
    wandb.teardown()  # which ends the process that writes the log
    return str(run.id)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to log."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "b.bin").write_bytes(b"b" * 100_000)
    return folder


def contents(version: dataver.Version) -> dict[str, bytes]:
    """Return the files of a version."""
    return {each.path: version.read(each.path) for each in version.entries()}


def test_offline_runs_are_versions(machine: Path, data: Path, repo: dataver.Repository) -> None:
    """Each with the files, the metadata and the run; equal files make one version of two runs."""
    first = log(data, "best", description="the first", metadata={"k": 1})
    again = log(data)
    old = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    (data / "a.txt").write_bytes(b"two")
    last = log(data, "latest", "best")
    log(data, name="net", kind="model")
    report = import_versions(repo, wandb_source([str(machine / "wandb")]))
    assert report.problems == []
    one, two = report.versions
    assert (one.message, one.metadata["k"], one.dataset) == ("the first", 1, "cats")
    assert {name: data for name, data in contents(one).items() if "/" not in name} == old
    assert contents(two) == {"a.txt": b"two", "empty": b"", "sub/b.bin": b"b" * 100_000}
    assert report.tags == [("best", two.ref)]
    repo.lineage.sync()
    made = {run.key: run.name for run, _ in repo.lineage.version(one.ref).produced}
    assert made == {f"wandb:team/proj/{each}": "prepare" for each in (first, again)}
    assert [run.key for run, _ in repo.lineage.version(two.ref).produced] == [f"wandb:team/proj/{last}"]
    assert import_versions(repo, wandb_source([str(machine / "wandb")])).known == 2


def test_a_part_of_an_artifact_is_no_version(machine: Path, data: Path, repo: dataver.Repository) -> None:
    """The log has only what an incremental artifact, or one of several runs, adds to others."""
    log(data, tags=["a"])
    (data / "a.txt").write_bytes(b"two")
    log(data, incremental=True)
    with wandb.init(mode="offline", entity="team", project="proj", group="g") as run:
        artifact = wandb.Artifact("cats", type="dataset")
        artifact.add_file(str(data / "empty"))
        run.upsert_artifact(artifact, distributed_id="g")
    wandb.teardown()
    report = import_versions(repo, wandb_source([str(machine / "wandb")]))
    assert [each.metadata["tags"] for each in report.versions] == [["a"]]
    assert len(report.problems) == 2
    assert all("incremental or written by several runs" in reason for _, reason in report.problems)


def test_a_type_that_no_artifact_has_is_a_clear_error(machine: Path, data: Path) -> None:
    """The hint names the types that there are."""
    log(data, kind="raw-data")
    with pytest.raises(InvalidInput, match="no artifact of the type 'dataset'") as caught:
        list(wandb_source([str(machine / "wandb")]).versions())
    assert caught.value.hint == "--type selects one of: raw-data"
    [version] = wandb_source([str(machine / "wandb")], "raw-data").versions()
    assert version.dataset == "cats"
    with pytest.raises(InvalidInput, match="no artifact"):
        list(wandb_source([str(data)]).versions())


def test_references_to_a_bucket_are_read_in_their_versions(
    machine: Path, request: pytest.FixtureRequest, repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, the version has the bytes that the object had when it was logged."""
    boto3 = pytest.importorskip("boto3", reason="pip finds no boto3 that agrees with s3fs on botocore")
    moto_server = request.getfixturevalue("moto_server")
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_S3_ENDPOINT_URL", moto_server.endpoint)
    bucket = boto3.resource("s3").create_bucket(Bucket="references")
    bucket.Versioning().enable()
    versions = []
    for data in (b"one", b"three"):
        bucket.put_object(Key="data/a b.bin", Body=data)
        with wandb.init(mode="offline", entity="team", project="proj") as run:
            artifact = wandb.Artifact("cats", type="dataset")
            artifact.add_reference("s3://references/data")
            run.log_artifact(artifact)
        wandb.teardown()
    bucket.put_object(Key="data/a b.bin", Body=b"later")
    source = wandb_source([str(machine / "wandb")])
    versions = [list(each.files()) for each in source.versions()]
    assert [(file.url, file.size, file.external) for [file] in versions] == [
        ("s3://references/data/a b.bin", 3, True),
        ("s3://references/data/a b.bin", 5, True),
    ]
    report = import_versions(repo, wandb_source([str(machine / "wandb")]), in_place=True)
    assert report.problems == []
    assert [contents(each) for each in report.versions] == [{"a b.bin": b"one"}, {"a b.bin": b"three"}]
    assert report.stored == 0


def test_a_large_manifest_is_in_a_file(machine: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B writes the entries of many files apart from the log."""
    monkeypatch.setattr("wandb.sdk.interface.interface.MANIFEST_FILE_SIZE_THRESHOLD", 1)
    log(data)
    [version] = wandb_source([str(machine / "wandb")]).versions()
    assert {file.path: file.size for file in version.files()} == {
        "a.txt": 3,
        "empty": 0,
        "sub/b.bin": 100_000,
    }
    assert all(file.url and file.check for file in version.files())


def test_a_log_that_is_cut_or_damaged_loses_nothing_else(machine: Path, data: Path) -> None:
    """A log of a run that is being written is read as far as it goes; damage is reported."""
    log(data)
    (data / "a.txt").write_bytes(b"two")
    log(data)
    first, second = sorted((machine / "wandb").glob("offline-run-*/run-*.wandb"))
    whole = first.read_bytes()
    number = len(list(records(first)))
    for cut in range(0, len(whole), 97):
        first.write_bytes(whole[:cut])
        source = wandb_source([str(machine / "wandb")])
        assert len(list(source.versions())) in (1, 2)
        assert len(source.problems) == (cut < 7)
    first.write_bytes(whole[:200] + b"\xff" + whole[201:])
    source = wandb_source([str(first.parent), str(second)])
    assert len(list(source.versions())) == 1
    [(name, reason)] = source.problems
    assert name == str(first)
    assert "does not have its checksum" in reason
    first.write_bytes(whole)
    assert len(list(records(first))) == number


def test_a_log_of_many_blocks_is_read(machine: Path, tmp_path: Path) -> None:
    """Records that cross blocks are joined."""
    folder = tmp_path / "many"
    folder.mkdir()
    for at in range(1500):
        (folder / f"file with a long name, so that the manifest is long, {at:04}").write_bytes(b"%d" % at)
    log(folder)
    [version] = wandb_source([str(machine / "wandb")]).versions()
    files = version.files()
    assert len(list(files)) == 1500
    assert all(Path(str(file.url)).read_bytes() == b"%d" % int(file.path[-4:]) for file in files)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A project with three versions, of which one is deleted."""
    server = WandbServer()
    big = {"sub/b.bin": b"b" * 100_000}
    server.add({"a.txt": b"one", **big}, made="r1", used=["r2", "r3"], description="first", metadata={"k": 1})
    server.add({"a.txt": b"no"}, state="DELETED")
    reference = {"digest": "etag", "ref": "s3://bucket/key", "size": 5, "extra": {"versionID": "V1"}}
    facts = {"aliases": ["latest", "prod"], "tags": ["clean"], "references": {"ref.bin": reference}}
    server.add({"a.txt": b"two", **big}, made="r2", **facts)
    with server.serving():
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield server


def test_artifacts_of_a_project_are_versions(server: WandbServer, repo: dataver.Repository) -> None:
    """With the numbers, aliases, runs and times of the server; what is deleted is left out."""
    report = import_versions(repo, wandb_source(["team/proj"]))
    first, second = report.versions
    assert [each.label for each in report.versions] == ["0.0.0", "2.0.0"]
    assert (first.message, first.metadata["k"], str(first.created)) == (
        "first",
        1,
        "2026-01-01 12:00:00+00:00",
    )
    assert contents(first) == {"a.txt": b"one", "sub/b.bin": b"b" * 100_000}
    assert contents(second) == {"a.txt": b"two", "sub/b.bin": b"b" * 100_000}
    assert second.metadata["tags"] == ["clean"]
    assert report.tags == [("prod", "cats@2.0.0")]
    [(name, reason)] = report.problems
    assert name == "ref.bin in cats@2.0.0"
    assert "--in-place allows it" in reason
    repo.lineage.sync()
    answer = repo.lineage.version("cats@0.0.0")
    assert [(run.key, run.name) for run, _ in answer.produced] == [("wandb:team/proj/r1", "run r1")]
    assert sorted(run.key for run, _ in answer.consumed) == ["wandb:team/proj/r2", "wandb:team/proj/r3"]
    url = answer.produced[0][0].contexts[0].facts["url"]
    assert url == f"{server.url}/team/proj/runs/r1"


def test_again_only_new_versions_are_read(server: WandbServer, repo: dataver.Repository) -> None:
    """No file is asked for twice; an alias that moved moves its tag."""
    import_versions(repo, wandb_source(["team/proj/cats"]))
    server.versions[2]["aliases"] = []
    server.add({"a.txt": b"three", "sub/b.bin": b"b" * 100_000}, aliases=["prod"])
    server.asked.clear()
    report = import_versions(repo, wandb_source(["team/proj/cats"]))
    assert (report.known, [each.label for each in report.versions]) == (2, ["3.0.0"])
    assert report.tags == [("prod", "cats@3.0.0")]
    assert len([each for each in server.asked if each.startswith("/artifactsV2/")]) == 1


def test_damage_of_a_file_is_found(server: WandbServer, repo: dataver.Repository) -> None:
    """Its version comes over without it."""
    server.damaged = {"a.txt"}
    report = import_versions(repo, wandb_source(["team/proj/cats"]))
    assert {name for name, _ in report.problems} >= {"a.txt in cats@0.0.0", "a.txt in cats@2.0.0"}
    assert contents(report.versions[0]) == {"sub/b.bin": b"b" * 100_000}


def test_a_server_that_does_not_answer_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and how to get access."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    with pytest.raises(StoreError, match="wandb:team/proj cannot be read") as caught:
        list(wandb_source(["team/proj"]).versions())
    assert "\n" not in caught.value.message
    assert "WANDB_API_KEY" in str(caught.value.hint)


def test_the_page_for_users_of_wandb(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command prints what the page shows."""
    server, photo = WandbServer(), b"1" * 90_000
    files = {"labels.csv": b"a,b\n", "train/1.jpg": photo}
    server.add(files, description="from the cameras", made="prepare", used=["first"], aliases=["best"])
    files = {"labels.csv": b"a,b\n1,2\n", "train/1.jpg": photo}
    server.add(files, description="cleaned", made="clean", used=["train"], aliases=["latest", "prod"])
    with server.serving():
        play("docs/coming-from/wandb.md", {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40})
