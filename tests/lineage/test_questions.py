"""Questions and answers on a small history that was really published: raw → clean → model, two trackers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dataver
from dataver.errors import InvalidInput, NotFound
from dataver.formats.event import Context, Event, Link, RunFacts, Subset, new_event_id

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
Say = Callable[..., None]


def link(version: dataver.Version, role: str = "input", **values: object) -> Link:
    """Return a link to a version."""
    given = {
        "role": role,
        "dataset": version.dataset,
        "label": version.label,
        "record": version.record_id,
        "tree": version.digest.removeprefix("dv1:"),
        "files": version.files,
        "size": version.size,
        "time": START,
        "how": "fetch" if role == "input" else "finalize",
    }
    return Link(**{**given, **values})  # type: ignore[arg-type]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """A repository with its own state on this machine, and lineage capture off: events are said by hand."""
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    monkeypatch.chdir(tmp_path)
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def say(repo: dataver.Repository) -> Say:
    """Write an event about a run."""
    count = 0

    def say(
        key: str, *links: Link, contexts: tuple[Context, ...] = (), minutes: int = 0, **values: object
    ) -> None:
        nonlocal count
        count += 1
        own = Context(system=key.partition(":")[0], id=key.partition(":")[2], kind="tracker")
        facts = RunFacts(
            key=key,
            process=f"{count:032x}",
            sequence=1,
            started=START + timedelta(minutes=minutes),
            contexts=(own, *contexts),
            **values,  # type: ignore[arg-type]
        )
        event = Event(id=new_event_id(), written=START, tool="a test", run=facts, links=links)
        repo.events.put(event)

    return say


@pytest.fixture
def history(repo: dataver.Repository, say: Say, tmp_path: Path) -> dict[str, dataver.Version]:
    """Publish raw twice (one file edited, one renamed), clean and model, and the runs between them."""

    def publish(name: str, files: dict[str, str], **values: object) -> dataver.Version:
        folder = tmp_path / "sources" / name
        for old in sorted(folder.rglob("*")):
            if old.is_file():
                old.unlink()
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        version = repo.sync(folder, name).version
        assert version is not None
        return version

    one = {"train/a.txt": "alpha", "train/b.txt": "beta", "test/c.txt": "gamma"}
    raw = publish("raw", one)
    edited = publish(
        "raw", {"train/a.txt": "alpha, edited", "train/moved.txt": "beta", "test/c.txt": "gamma"}
    )
    clean = publish("clean", {"all.txt": "alpha beta"})
    model = publish("models/net", {"net.bin": "weights"})
    slurm = Context(system="slurm", id="hpc/77", kind="cluster", facts={"name": "train"})
    say("mlflow:aaa111", link(raw), link(clean, "output"), name="clean up", ended=START, outcome="finished")
    say(
        "mlflow:bbb222",
        link(clean),
        link(model, "output"),
        contexts=(slurm,),
        minutes=1,
        facts={"user": "ana", "host": "gpu-1", "argv": ["train.py"]},
    )
    say(
        "mlflow:bbb333",
        link(raw, subset=Subset(patterns=("test/**",))),
        minutes=2,
        outcome="failed",
        ended=START,
    )
    say("wandb:team/proj/ccc", link(edited, subset=Subset(paths=("train/moved.txt",))), minutes=3)
    return {"raw": raw, "edited": edited, "clean": clean, "model": model}


def test_a_run_says_what_it_consumed_and_produced(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """By its key, by its bare id, by a beginning, and by another system it belongs to."""
    for text in ("mlflow:bbb222", "bbb222", "mlflow:bbb2", "slurm:hpc/77"):
        answer = repo.lineage.run(text)
        assert answer.run.key == "mlflow:bbb222"
        assert [each.ref for each in answer.inputs] == ["clean@1.0.0"]
        assert [each.digest for each in answer.outputs] == [history["model"].digest]
        assert (answer.run.user, answer.run.host, answer.facts["argv"]) == ("ana", "gpu-1", ["train.py"])


def test_unknown_and_ambiguous_runs_are_said(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """No run and several runs each get their sentence, with names."""
    with pytest.raises(NotFound, match="no run 'zzz'"):
        repo.lineage.run("zzz")
    with pytest.raises(InvalidInput, match=r"several runs: mlflow:bbb222, mlflow:bbb333"):
        repo.lineage.run("bbb")


def test_a_trackers_run_inside_a_run_has_its_own_links(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """Of an explicit run with two tracker's runs inside, each sees what was touched while it was active."""
    inside = tuple(Context(system="mlflow", id=each, kind="tracker") for each in ("in1", "in2"))
    say(
        "dataver:" + "0" * 32,
        link(history["raw"]),
        link(history["clean"], context="mlflow:in1"),
        link(history["edited"], context="mlflow:in2"),
        contexts=inside,
    )
    assert {each.ref for each in repo.lineage.run("mlflow:in2").inputs} == {"raw@1.0.0", "raw@1.0.1"}
    assert len(repo.lineage.run("dataver:" + "0" * 32).inputs) == 3


def test_a_version_says_who_read_and_who_made_it(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """Runs with their links, parents, children."""
    raw = repo.lineage.version("raw@1.0.0")
    assert sorted(run.key for run, _ in raw.consumed) == ["mlflow:aaa111", "mlflow:bbb333"]
    assert [each.ref for each in raw.children] == ["raw@1.0.1"]
    clean = repo.lineage.version("clean")
    assert [run.name for run, _ in clean.produced] == ["clean up"]
    assert repo.lineage.version(history["model"].digest[:20]).version.ref == "models/net@1.0.0"
    with pytest.raises(NotFound, match="no version 'raw@9'"):
        repo.lineage.version("raw@9")


def test_the_graph_goes_from_raw_to_model_and_back(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """Any number of steps through runs, parents and datasets; a depth cuts it and says where."""
    down = repo.lineage.graph("raw@1.0.0", up=False)
    assert {each.ref for each in down.versions.values()} == {
        "raw@1.0.0",
        "raw@1.0.1",
        "clean@1.0.0",
        "models/net@1.0.0",
    }
    up = repo.lineage.graph("models/net", down=False)
    assert [each.ref for each in up.versions.values() if each.dataset == "raw"] == ["raw@1.0.0"]
    assert {each.key for each in up.runs.values()} == {"mlflow:aaa111", "mlflow:bbb222"}
    cut = repo.lineage.graph("raw@1.0.0", up=False, depth=1)
    assert len(cut.edges) == 3
    assert cut.cut
    assert len(repo.lineage.graph_of_run("bbb222").versions) == 3


def test_a_content_is_found_under_any_name(
    repo: dataver.Repository, history: dict[str, dataver.Version], tmp_path: Path
) -> None:
    """A renamed file is the same content: a local copy under a third name finds both, and who saw it."""
    copy = tmp_path / "downloaded.bin"
    copy.write_text("beta")
    for what in (copy, "train/moved.txt"):
        answer = repo.lineage.file(what)
        assert [(each.version.ref, each.path) for each in answer.holdings] == [
            ("raw@1.0.0", "train/b.txt"),
            ("raw@1.0.1", "train/moved.txt"),
        ]
        assert {each.run.key for each in answer.saw} == {"mlflow:aaa111", "wandb:team/proj/ccc"}
    digest = history["raw"].entry("train/b.txt").digest.hex()
    assert len(repo.lineage.file(digest[:12]).holdings) == 2
    with pytest.raises(NotFound, match="ever held 'nothing'"):
        repo.lineage.file("nothing")


def test_a_content_that_left_is_not_held_any_more(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """An edited file's old content is held by the old version alone; the path knows both contents."""
    old = repo.lineage.file(history["raw"].entry("train/a.txt").digest.hex())
    assert [each.version.ref for each in old.holdings] == ["raw@1.0.0"]
    assert len(repo.lineage.file("train/a.txt").contents) == 2


def test_impact_follows_what_runs_made_of_bad_data(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """The whole version taints its children and all runs; one bad file only whom it reached."""
    whole = repo.lineage.impact("raw@1.0.0")
    assert {run.key for run, _, _ in whole.runs} == {
        "mlflow:aaa111",
        "mlflow:bbb222",
        "mlflow:bbb333",
        "wandb:team/proj/ccc",
    }
    part = repo.lineage.impact("raw@1.0.0", ["test/**"])
    assert {run.key for run, _, _ in part.runs} == {"mlflow:aaa111", "mlflow:bbb222", "mlflow:bbb333"}
    assert {each.ref for each, _ in part.versions} == {
        "raw@1.0.0",
        "raw@1.0.1",
        "clean@1.0.0",
        "models/net@1.0.0",
    }
    gone = repo.lineage.impact("raw@1.0.0", ["train/a.txt"])
    assert "raw@1.0.1" not in {each.ref for each, _ in gone.versions}
    with pytest.raises(NotFound, match="no file in raw"):
        repo.lineage.impact("raw@1.0.0", ["none/**"])


def test_a_child_that_kept_nothing_is_not_tainted(
    repo: dataver.Repository, history: dict[str, dataver.Version], tmp_path: Path
) -> None:
    """A next version with all files replaced has the bad one as its parent, and none of its data."""
    (tmp_path / "sources" / "models" / "net" / "net.bin").write_text("trained again")
    repo.sync(tmp_path / "sources" / "models" / "net", "models/net")
    assert [each.ref for each, _ in repo.lineage.impact("models/net@1.0.0").versions] == ["models/net@1.0.0"]
    heirs = {each.ref for each, _ in repo.lineage.impact("raw@1.0.0").versions}
    assert "raw@1.0.1" in heirs
    assert "models/net@1.0.1" not in heirs


def test_a_shard_may_have_held_a_file(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """What cannot be told is listed, and not called certain."""
    say("ray:1", link(history["raw"], subset=Subset(shard=(0, 2))))
    saw = {each.run.key: each.certain for each in repo.lineage.file("test/c.txt").saw}
    assert saw["ray:1"] is False
    assert saw["mlflow:bbb333"] is True


def test_compare_tells_the_same_data_from_other_data(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """The same content is the same under any name; otherwise the trees say what differs."""
    say("mlflow:same", link(history["raw"]))
    say("mlflow:other", link(history["edited"]), link(history["clean"]))
    assert repo.lineage.compare("aaa111", "mlflow:same").same
    found = repo.lineage.compare("mlflow:same", "mlflow:other")
    assert not found.same
    assert [each.dataset for each in found.pairs] == ["clean", "raw"]
    diff = dataver.Diff.of(repo.lineage.changes(found.pairs[1]))
    assert [each.path for each in diff.modified] == ["train/a.txt"]
    assert [(old.path, new.path) for old, new in diff.renamed] == [("train/b.txt", "train/moved.txt")]
    assert not repo.lineage.compare("aaa111", "bbb333").same  # the same version, but another part of it


def test_runs_are_filtered(repo: dataver.Repository, history: dict[str, dataver.Version]) -> None:
    """By dataset, version, system, context, user, name, outcome and time; the latest first."""
    runs = repo.lineage.runs

    def keys(**chosen: object) -> list[str]:
        return [each.key for each in runs(**chosen)]  # type: ignore[arg-type]

    assert keys() == ["wandb:team/proj/ccc", "mlflow:bbb333", "mlflow:bbb222", "mlflow:aaa111"]
    assert keys(limit=1) == ["wandb:team/proj/ccc"]
    assert keys(version="raw") == ["wandb:team/proj/ccc", "mlflow:bbb333", "mlflow:aaa111"]
    assert keys(version="raw@1.0.1") == ["wandb:team/proj/ccc"]
    assert keys(system="slurm") == keys(system="slurm:hpc/77") == keys(user="ana") == ["mlflow:bbb222"]
    assert keys(name="CLEAN") == ["mlflow:aaa111"]
    assert keys(outcome="failed") == ["mlflow:bbb333"]
    assert keys(outcome="open") == ["wandb:team/proj/ccc", "mlflow:bbb222"]
    assert keys(since=START + timedelta(minutes=2)) == ["wandb:team/proj/ccc", "mlflow:bbb333"]
    assert keys(until=START + timedelta(minutes=1)) == ["mlflow:aaa111"]


def test_openlineage_events_name_exact_versions(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """Every run starts and ends or goes on, with dataset versions, statistics and subsets."""
    events = list(repo.lineage.export())
    assert [each["eventType"] for each in events] == [
        *("START", "COMPLETE"),
        *("START", "RUNNING"),
        *("START", "FAIL"),
        *("START", "RUNNING"),
    ]
    done = events[1]
    assert done["inputs"][0]["facets"]["version"]["datasetVersion"] == "1.0.0"
    assert done["outputs"][0]["name"] == "clean"
    assert done["inputs"][0]["inputFacets"]["inputStatistics"]["fileCount"] == 3
    assert events[5]["inputs"][0]["inputFacets"]["subset"]["inputCondition"]["locations"] == ["test/**"]
    assert len({each["run"]["runId"] for each in events}) == 4


def test_answers_survive_a_repository_that_is_away(
    repo: dataver.Repository, history: dict[str, dataver.Version], tmp_path: Path
) -> None:
    """Once pulled, questions are answered without the repository, and `refresh` says that it is away."""
    assert repo.lineage.refresh() is None
    (tmp_path / "repo").rename(tmp_path / "away")
    again = dataver.Repository(repo.store, repo.config, str(tmp_path / "repo"))
    problem = again.lineage.refresh()
    (tmp_path / "away").rename(tmp_path / "repo")
    assert again.lineage.run("aaa111").inputs[0].ref == "raw@1.0.0"
    assert problem is None or "repo" in problem


def test_graphs_are_drawn_with_names_escaped(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """A hostile name stays inside its quotes in dot and Mermaid."""
    from dataver.lineage.questions.drawing import as_dot, as_mermaid, as_text

    say("mlflow:evil", link(history["model"]), name='"]; system("x") [label="', minutes=9)
    graph = repo.lineage.graph("models/net")
    dot = "\n".join(as_dot(graph))
    assert '\\"]; system(\\"x\\")' in dot
    assert "#34;" in "\n".join(as_mermaid(graph))
    text = list(as_text(graph))
    assert any(line.startswith("●") for line in text)
    assert any("read by" in line for line in text)


def test_what_waits_on_this_machine_is_in_the_answers(
    repo: dataver.Repository, history: dict[str, dataver.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on is known here before anything of it was sent."""
    from dataver.lineage.queue import queue_folder

    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    with dataver.run("going on") as run:
        repo.fetch("clean")
        assert list(queue_folder(repo.id).iterdir())
        assert [each.ref for each in repo.lineage.run(run.key).inputs] == ["clean@1.0.0"]
        assert run.key in {each.key for each, _ in repo.lineage.version("clean").consumed}
