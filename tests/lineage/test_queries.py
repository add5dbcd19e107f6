"""Questions and answers on a small history that was really published: raw → clean → model, two trackers."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dataver
from dataver.errors import InvalidInput, NotFound
from dataver.formats.event import Context, Event, Link, RunFacts, Subset, new_event_id
from dataver.repository import RepositoryCore as Core
from dataver.repository.layout import block_key

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
        "files": version.file_count,
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
        repo._core.events.put(event)

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


def test_a_query_takes_a_version_or_its_name(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """As all methods of `Repository` do."""
    lineage, raw = repo.lineage, history["raw"]
    assert lineage.version(raw) == lineage.version(raw.ref)
    assert lineage.graph(raw) == lineage.graph(raw.ref)
    assert lineage.impact(raw) == lineage.impact(raw.ref)
    assert lineage.runs(version=raw) == lineage.runs(version=raw.ref) != []


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


def test_a_graph_has_at_most_as_many_nodes_as_asked_for(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """The nearest ones, or of a whole lineage the newest ones; edges have both ends, and cuts are told."""
    lineage = repo.lineage
    everything = lineage.graph_of_all(1000)
    nodes = {*everything.versions, *everything.runs}
    assert nodes >= {*lineage.graph("raw@1.0.0").versions, *lineage.graph("raw@1.0.0").runs}
    assert everything.edges >= lineage.graph("raw@1.0.0").edges
    for graph in (lineage.graph("raw@1.0.0", limit=3), lineage.graph_of_all(3)):
        some = {*graph.versions, *graph.runs}
        assert len(some) == 3
        assert some >= {end for each in graph.edges for end in (each.source, each.target)}
    assert lineage.graph("raw@1.0.0", limit=3).cut
    assert lineage.graph("raw@1.0.0", limit=1000) == lineage.graph("raw@1.0.0")


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
    for what, by in ((copy, "path"), (copy, "digest"), (digest, "path"), ("train/b.txt", "local")):
        with pytest.raises(NotFound):
            repo.lineage.file(what, by=by)
    assert repo.lineage.file(digest, by="digest").contents == [bytes.fromhex(digest)[:16]]
    with pytest.raises(NotFound, match="ever contained 'nothing'"):
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


def forget_tree(repo: dataver.Repository, version: dataver.Version, tmp_path: Path) -> None:
    """Remove a version's tree from the repository and from this machine."""
    repo._core.store.delete(block_key(bytes.fromhex(version.digest.removeprefix("dv1:"))))
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("collected", [False, True])
def test_a_deleted_version_keeps_its_lineage(
    repo: dataver.Repository, history: dict[str, dataver.Version], collected: bool, tmp_path: Path
) -> None:
    """Every question answers as before, the deletion said; `latest` and names mean living versions alone."""
    lineage = repo.lineage
    before = lineage.file("train/a.txt"), lineage.impact("raw@1.0.0", "train/a.txt"), lineage.run("aaa111")
    for ref in ("raw@1.0.0", "clean@1.0.0"):
        repo.delete(ref)
    if collected:
        forget_tree(repo, history["raw"], tmp_path)
    again = dataver.open(tmp_path / "repo").lineage
    after = again.file("train/a.txt"), again.impact("raw@1.0.0", "train/a.txt"), again.run("aaa111")
    assert [each.run.key for each in after[0].saw] == [each.run.key for each in before[0].saw]
    assert [run.key for run, *_ in after[1].runs] == [run.key for run, *_ in before[1].runs]
    assert [each.ref for each in after[2].outputs] == ["clean@1.0.0"]
    answer = again.version("raw@1.0.0")
    assert answer.version.deleted is not None and answer.version.files == 3
    assert [each.ref for each in answer.children] == ["raw@1.0.1"]
    assert [run.key for run, _ in again.version("clean@1.0.0").produced] == ["mlflow:aaa111"]
    assert again.version("raw").version.ref == "raw@1.0.1"
    with pytest.raises(NotFound) as caught:
        again.version("clean")
    assert "clean@1.0.0" in (caught.value.hint or "")
    with pytest.raises(NotFound, match="no file in raw"):
        again.impact("raw@1.0.0", "none/**")


def test_a_deleted_version_whose_files_were_never_indexed_says_so(
    repo: dataver.Repository, history: dict[str, dataver.Version], tmp_path: Path
) -> None:
    """`impact` of some files needs the tree or the index of changes; without both it names the way on."""
    repo.delete("raw@1.0.0")
    forget_tree(repo, history["raw"], tmp_path)
    with pytest.raises(NotFound, match="are unknown: its tree is missing") as caught:
        dataver.open(tmp_path / "repo").lineage.impact("raw@1.0.0", "train/a.txt")
    assert "dataver lineage impact raw@1.0.0" in (caught.value.hint or "")


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


@pytest.mark.parametrize("paths", [["train/a.txt"], None])
def test_what_was_made_again_from_good_data_is_not_tainted(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, tmp_path: Path, paths: list[str]
) -> None:
    """A child that a run made of mended data is named apart; its readers are clean; the old rule is there."""
    folder = tmp_path / "sources" / "clean"
    (folder / "more.txt").write_text("made again")
    again = repo.sync(folder, "clean").version  # keeps all.txt of clean@1.0.0, byte for byte
    assert again is not None
    good = repo.sync(folder, "good").version
    assert good is not None
    say("mlflow:again", link(good), link(again, "output"), minutes=5)
    say("mlflow:after", link(again), minutes=6)
    ref = "raw@1.0.0" if paths else "clean@1.0.0"
    found = repo.lineage.impact(ref, paths)
    assert "clean@1.0.1" not in {each.ref for each, _ in found.versions}
    assert "mlflow:after" not in {run.key for run, _, _ in found.runs}
    assert [(each.ref, run.key) for each, run in found.mended] == [("clean@1.0.1", "mlflow:again")]
    old = repo.lineage.impact(ref, paths, conservative=True)
    assert {each.ref: why for each, why in old.versions}["clean@1.0.1"] == "made from clean@1.0.0"
    assert "mlflow:after" in {run.key for run, _, _ in old.runs} and old.mended == []


@pytest.mark.parametrize("reads", ["nothing", "the bad version", "it by another run"])
def test_a_child_made_of_what_is_not_known_to_be_good_is_tainted(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, tmp_path: Path, reads: str
) -> None:
    """A run without known inputs, or one of several makers that read bad data, mends nothing."""
    folder = tmp_path / "sources" / "clean"
    (folder / "more.txt").write_text("made again")
    again = repo.sync(folder, "clean").version
    assert again is not None
    inputs = {
        "nothing": [],
        "the bad version": [link(history["raw"])],
        "it by another run": [link(history["edited"])],
    }[reads]
    say("mlflow:again", *inputs, link(again, "output"), minutes=5)
    if reads == "it by another run":
        say("mlflow:too", link(history["clean"]), link(again, "output"), minutes=6)
    found = repo.lineage.impact("raw@1.0.0", ["train/a.txt"])
    assert "clean@1.0.1" in {each.ref for each, _ in found.versions}
    assert found.mended == []


def test_what_was_only_available_is_tainted_perhaps(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, tmp_path: Path
) -> None:
    """A run that had bad data at hand may have used it, and so what it made; reading makes that certain."""
    say("mlflow:had", link(history["raw"], how="available"), minutes=5)
    say("mlflow:maker", link(history["edited"], how="available"), link(history["model"], "output"), minutes=6)
    part = repo.lineage.impact("raw@1.0.0", ["test/c.txt"])
    told = {run.key: (why, certain) for run, why, certain in part.runs}
    assert told["mlflow:had"] == ("could use raw@1.0.0", False)
    assert told["mlflow:maker"] == ("could use raw@1.0.1", False)
    assert told["mlflow:bbb222"][1]  # read what a run made that certainly read it
    whole = {run.key: certain for run, _, certain in repo.lineage.impact("raw@1.0.0").runs}
    assert not whole["mlflow:had"] and whole["mlflow:aaa111"]
    other = repo.sync(tmp_path / "sources/clean", "other").version
    assert other is not None
    say("mlflow:last", link(history["raw"], how="available"), link(other, "output"), minutes=7)
    repo.lineage.sync()
    assert [each.ref for each in repo.lineage.impact("raw@1.0.0").possible] == ["other@1.0.0"]
    saw = {each.run.key: each.certain for each in repo.lineage.file("test/c.txt").saw}
    assert not saw["mlflow:had"] and saw["mlflow:aaa111"]


def test_a_shard_may_have_held_a_file(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """What cannot be told is listed, and not called certain."""
    say("ray:1", link(history["raw"], subset=Subset(shard=(0, 2))))
    saw = {each.run.key: each.certain for each in repo.lineage.file("test/c.txt").saw}
    assert saw["ray:1"] is False
    assert saw["mlflow:bbb333"] is True


def test_what_a_run_excluded_it_did_not_read(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """`file` and `impact` leave it out, of a shard too; `compare` and the export of lineage know the rest."""
    raw, left_out = history["raw"], Subset(exclude=("train/a.txt",))
    say("mlflow:without", link(raw, subset=left_out))
    say("mlflow:part", link(raw, subset=Subset(patterns=("train",), exclude=("**/a.*",))))
    say("mlflow:path", link(raw, subset=Subset(paths=("train/b.txt",))))
    say("ray:shard", link(raw, subset=left_out._replace(shard=(0, 2))))
    saw = {each.run.key: each.certain for each in repo.lineage.file("train/a.txt").saw}
    assert saw.keys().isdisjoint({"mlflow:without", "mlflow:part", "ray:shard"})
    saw = {each.run.key: each.certain for each in repo.lineage.file("train/b.txt").saw}
    assert (saw["mlflow:without"], saw["mlflow:part"], saw["ray:shard"]) == (True, True, False)
    bad = {run.key for run, _, _ in repo.lineage.impact("raw@1.0.0", ["train/a.txt"]).runs}
    assert "mlflow:aaa111" in bad and bad.isdisjoint({"mlflow:without", "mlflow:part", "ray:shard"})
    assert "mlflow:part" in {run.key for run, _, _ in repo.lineage.impact("raw@1.0.0").runs}
    assert repo.lineage.compare("mlflow:part", "mlflow:path").same
    changes = list(repo.lineage.changes(repo.lineage.compare("aaa111", "mlflow:without").pairs[0]))
    assert [(each.path, each.new) for each in changes] == [("train/a.txt", None)]
    inputs = [each["inputs"] for each in repo.lineage.export() if each["inputs"]]
    facets = [
        each["facets"]["dataver"]["subset"] for (each,) in inputs if "subset" not in each["inputFacets"]
    ]
    assert left_out.values() in facets


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


def test_compare_is_about_contents(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, tmp_path: Path
) -> None:
    """The same contents are the same data in any version, dataset, name, glob, list or union of shards."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "again.txt").write_text("beta")
    other = repo.sync(copy, "other").version
    assert other is not None
    raw, edited = history["raw"], history["edited"]
    listed = repo._core.events.attach(json.dumps(["train/b.txt"]).encode())
    say("mlflow:path", link(raw, subset=Subset(paths=("train/b.txt",))))
    say("mlflow:glob", link(raw, subset=Subset(patterns=("**/b*",))))
    say("mlflow:listed", link(raw, subset=Subset(listed=listed)))
    say("mlflow:renamed", link(edited, subset=Subset(paths=("train/moved.txt",))))
    say("mlflow:copied", link(other))
    say("mlflow:twice", link(raw, subset=Subset(paths=("train/b.txt",))), link(other))
    say("mlflow:shards", *(link(raw, subset=Subset(shard=(rank, 2))) for rank in range(2)))
    say("mlflow:all", link(raw))
    say("mlflow:more", link(raw, subset=Subset(patterns=("train",))))
    compare = repo.lineage.compare
    for each in ("glob", "listed", "renamed", "copied", "twice"):
        found = compare("mlflow:path", f"mlflow:{each}")
        assert found.same and [one.ref for one in found.common] == ["raw@1.0.0"]
    assert compare("mlflow:shards", "mlflow:all").same
    assert not compare("mlflow:path", "mlflow:all").same
    found = compare("mlflow:renamed", "mlflow:more")
    assert [(each.dataset, each.first and each.first.ref) for each in found.pairs] == [("raw", "raw@1.0.1")]
    diff = dataver.Diff.of(repo.lineage.changes(found.pairs[0]))
    assert [each.path for each in diff.added] == ["train/a.txt"]
    assert [(old.path, new.path) for old, new in diff.renamed] == [("train/moved.txt", "train/b.txt")]


def test_compare_knows_the_contents_of_a_tree_that_is_gone(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, tmp_path: Path
) -> None:
    """From the index; where that never read them either, the same link is the same and another is not."""
    say("mlflow:path", link(history["raw"], subset=Subset(paths=("train/b.txt",))))
    say("mlflow:again", link(history["raw"], subset=Subset(paths=("train/b.txt",))))
    say("mlflow:renamed", link(history["edited"], subset=Subset(paths=("train/moved.txt",))))
    say("mlflow:other", link(history["edited"], subset=Subset(paths=("train/a.txt",))))
    repo.lineage.file("train/b.txt")
    repo.delete("raw@1.0.0")
    forget_tree(repo, history["raw"], tmp_path)
    lineage = dataver.open(tmp_path / "repo").lineage
    assert lineage.compare("mlflow:path", "mlflow:renamed").same
    assert not lineage.compare("mlflow:path", "mlflow:other").same
    lineage.rebuild()
    assert not lineage.compare("mlflow:path", "mlflow:renamed").same
    assert lineage.compare("mlflow:path", "mlflow:again").same


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


def test_unknown_values_of_a_query_are_refused(
    repo: dataver.Repository, history: dict[str, dataver.Version]
) -> None:
    """A mistyped outcome or name is an error, not an empty answer; a negative number is not "all"."""
    lineage = repo.lineage
    with pytest.raises(InvalidInput, match="unknown `outcome` 'zz'") as caught:
        lineage.runs(outcome="zz")
    assert caught.value.hint == "choose finished, failed, killed or open"
    for query in (
        lambda: lineage.runs(limit=-1),
        lambda: lineage.file("bad.txt", limit=-1),
        lambda: lineage.graph("raw", depth=-1),
        lambda: lineage.graph_of_run("mlflow:aaa111", depth=-1),
        lambda: lineage.graph_of_all(-1),
        lambda: lineage.runs(since=datetime(2026, 1, 1)),  # without a time zone
    ):
        with pytest.raises(InvalidInput):
            query()
    for version in ("rwa", "raw@9.9.9"):
        with pytest.raises(NotFound, match=version):
            lineage.runs(version=version)


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
    namespaces = {done["job"]["namespace"], done["inputs"][0]["namespace"], done["outputs"][0]["namespace"]}
    assert namespaces == {Path(repo.url).as_uri()}


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/home/ana/train.py", "--lr", "0.1"], "cats/train.py"),
        (["python3.11", "-u", "work/train.py"], "cats/train.py"),
        (["/home/ana/explore.ipynb"], "cats/explore.ipynb"),
        (["/usr/lib/trainer/__main__.py"], "cats/trainer"),
        (["/usr/lib/ipykernel_launcher.py", "-f", "k.json"], "mlflow:7"),
        (["-c"], "mlflow:7"),
    ],
)
def test_openlineage_jobs_are_scripts_notebooks_and_experiments(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say, argv: list[str], name: str
) -> None:
    """Runs of one script are one job, whatever the tracker calls each; an orchestrator's task goes before."""
    facts = {"argv": argv, "git": {"remote": "git@example.org:team/cats.git"}}
    experiment = Context(system="mlflow", id="x", kind="tracker", facts={"experiment": "7"})
    task = Context(system="airflow", id="d/r/t", kind="orchestrator", facts={"dag": "daily", "task": "train"})
    for number in range(3):
        say(f"dataver:{number}", link(history["raw"]), contexts=(experiment,), facts=facts, name=f"n{number}")
    say("dataver:9", link(history["raw"]), contexts=(experiment, task), facts=facts)
    jobs = [each["job"]["name"] for each in repo.lineage.export() if each["eventType"] == "START"]
    assert jobs.count(name) == 3
    assert jobs.count("airflow:daily.train") == 1


def test_answers_survive_a_repository_that_is_away(
    repo: dataver.Repository, history: dict[str, dataver.Version], tmp_path: Path
) -> None:
    """Once pulled, questions are answered without the repository, and `refresh` says that it is away."""
    assert repo.lineage.refresh() is None
    (tmp_path / "repo").rename(tmp_path / "away")
    again = dataver.Repository(Core(repo._core.store, repo._core.config), str(tmp_path / "repo"))
    problem = again.lineage.refresh()
    (tmp_path / "away").rename(tmp_path / "repo")
    assert again.lineage.run("aaa111").inputs[0].ref == "raw@1.0.0"
    assert again.lineage.run("aaa111").inputs[0].run == "mlflow:aaa111"
    assert problem is None or "repo" in problem


def test_graphs_are_drawn_with_names_escaped(
    repo: dataver.Repository, history: dict[str, dataver.Version], say: Say
) -> None:
    """A hostile name stays inside its quotes in dot and Mermaid."""
    from dataver_cli.render_graph import as_dot, as_mermaid, as_text

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
    from dataver.lineage.record.queue_file import queue_folder

    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    with dataver.run("going on") as run:
        repo.fetch("clean")
        assert list(queue_folder(repo._core.local_name).iterdir())
        assert [each.ref for each in repo.lineage.run(run.key).inputs] == ["clean@1.0.0"]
        assert run.key in {each.key for each, _ in repo.lineage.version("clean").consumed}
