"""MLflow with a SQLite tracking store, read back by its own client."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import mlflow.data
import pytest
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException

import dataver

from .conftest import Script, events, linked
from .mlflow_programs import READS

PROGRAMS = os.environ.get("DATAVER_TEST_PROGRAMS", "30,1")  # read here: tests run without such variables


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store with its tables, which take MLflow seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def tracking(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracking store of the test's own."""
    url = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(url)
    return url


TRAIN = """
import mlflow, dataver
with mlflow.start_run() as run:
    folder = dataver.fetch("vision/cats@production")
    mlflow.log_metric("score", 1.0)
result = {"run": run.info.run_id, "folder": str(folder)}
"""


def test_a_fetch_is_an_input_of_the_active_run(repo: dataver.Repository, program: Script) -> None:
    """A fetch without a word about lineage is an input of the run, with content, label and what was asked."""
    ran = program(TRAIN)
    version = repo.version("vision/cats@1.1.0")
    inputs = mlflow.get_run(ran["run"]).inputs.dataset_inputs
    assert len(inputs) == 1
    dataset = inputs[0].dataset
    tree = version.digest.removeprefix("dv1:")
    assert (dataset.name, dataset.digest, dataset.source_type) == ("vision/cats", tree[:32], "dataver")
    assert json.loads(dataset.source) == {
        "dataset": "vision/cats",
        "repository": repo.id,
        "tree": tree,
        "uri": f"dataver://vision/cats@dv1:{tree}",
    }
    assert json.loads(dataset.profile) == {"files": 5, "size": version.size}
    tags = {tag.key: tag.value for tag in inputs[0].tags}
    assert tags["dataver.version"] == "1.1.0"
    assert tags["dataver.asked"] == "vision/cats@production"
    assert tags["dataver.record"] == version.record_id
    assert tags["mlflow.data.context"] == "input"
    assert "dataver.subset" not in tags
    assert linked(repo) == {f"mlflow:{ran['run']}": {("input", "1.1.0")}}


def test_a_run_has_the_name_that_mlflow_gives_it(repo: dataver.Repository, program: Script) -> None:
    """`runs --name` finds it."""
    ran = program(TRAIN.replace("start_run()", "start_run(run_name='resnet50')"))
    (run,) = repo.lineage.runs(name="resnet50")
    assert run.key == f"mlflow:{ran['run']}"


def test_runs_are_found_by_digest(repo: dataver.Repository, program: Script) -> None:
    """MLflow's own search answers which runs saw a content."""
    ran = program(TRAIN)
    other = program(TRAIN.replace("@production", "@1.0.0"))
    tree = repo.version("vision/cats@1.1.0").digest.removeprefix("dv1:")
    found = mlflow.search_runs(
        experiment_ids=["0"],
        filter_string=f"dataset.name = 'vision/cats' and dataset.digest = '{tree[:32]}'",
        output_format="list",
    )
    assert [run.info.run_id for run in found] == [ran["run"]]
    assert other["run"] != ran["run"]


def test_a_source_loads_the_very_version(repo: dataver.Repository, program: Script) -> None:
    """`mlflow.data.get_source(…).load()` gives what the run read, after tag and latest have moved on."""
    ran = program(TRAIN)
    repo.tag("vision/cats@1.0.0", "production")
    source = mlflow.data.get_source(mlflow.get_run(ran["run"]).inputs.dataset_inputs[0])
    assert source.to_json() == type(source).from_json(source.to_json()).to_json()
    assert sorted(each.name for each in Path(source.load(), "train").iterdir()) == [
        f"{number}.txt" for number in range(5)
    ]
    assert source.load() == ran["folder"]


def test_a_source_loads_into_a_folder_from_a_named_repository(
    repo: dataver.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository can be named where another one is configured; without it the error says which it was."""
    source = resolve_dataset_source("dataver://vision/cats@1.0.0")
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "other"))
    dataver.init(tmp_path / "other")
    with pytest.raises(dataver.NotFound) as caught:
        source.load()
    assert repo.id in str(caught.value.hint)
    folder = source.load(tmp_path / "copy", repo=tmp_path / "repo", include="train/1.txt")
    assert [each.name for each in Path(folder, "train").iterdir()] == ["1.txt"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dataset": "../up", "tree": "a" * 64, "repository": "b" * 32},
        {"dataset": "cats", "tree": "a" * 63, "repository": "b" * 32},
        {"dataset": "cats", "tree": ["a"], "repository": "b" * 32},
        {"dataset": "cats", "tree": "a" * 64, "repository": "/etc/passwd"},
        {"dataset": "cats", "tree": "a" * 64, "repository": "b" * 32, "subset": {"paths": [1]}},
    ],
)
def test_a_hostile_source_is_refused(values: dict) -> None:
    """What a tracking server says of a source is checked before it is used."""
    from dataver.integrations.mlflow_source import DataverDatasetSource

    with pytest.raises(dataver.InvalidInput):
        DataverDatasetSource.from_dict(values)


def test_a_version_and_its_uri_are_the_same_source(repo: dataver.Repository) -> None:
    """`resolve_dataset_source` takes a version, a reference with a tag, and an exact content."""
    version = repo.version("vision/cats@1.1.0")
    sources = [
        resolve_dataset_source(raw)
        for raw in (version, "dataver://vision/cats@production", f"dataver://vision/cats@{version.digest}")
    ]
    assert {source.uri for source in sources} == {f"dataver://vision/cats@{version.digest}"}
    dataset = Dataset(
        name="vision/cats", digest="x", source_type="dataver", source=json.dumps(sources[0].to_dict())
    )
    with mlflow.start_run() as run:
        mlflow.MlflowClient().log_inputs(run.info.run_id, [DatasetInput(dataset=dataset, tags=[])])
    again = mlflow.data.get_source(mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0])
    assert again.uri == sources[0].uri


def test_a_fetch_before_the_run_is_linked_to_it(repo: dataver.Repository, program: Script) -> None:
    """Data that was fetched first belongs to the run that starts afterwards, short as it may be."""
    ran = program("""
import mlflow, dataver
dataver.fetch("vision/cats@1.0.0")
with mlflow.start_run() as run:
    pass
result = {"run": run.info.run_id}
""")
    assert linked(repo) == {f"mlflow:{ran['run']}": {("input", "1.0.0")}}
    inputs = mlflow.get_run(ran["run"]).inputs.dataset_inputs
    assert [each.dataset.name for each in inputs] == ["vision/cats"]


def test_runs_in_a_row_all_saw_what_was_fetched_first(repo: dataver.Repository, program: Script) -> None:
    """A sweep that fetches once and starts a run for each setting links the data to each of them."""
    ran = program("""
import mlflow, dataver
dataver.fetch("vision/cats@1.0.0")
runs = []
for _ in range(3):
    with mlflow.start_run() as run:
        runs.append(run.info.run_id)
result = {"runs": runs}
""")
    assert set(linked(repo)) == {f"mlflow:{run}" for run in ran["runs"]}
    for run in ran["runs"]:
        assert len(mlflow.get_run(run).inputs.dataset_inputs) == 1


def test_a_source_loads_the_part_that_was_read(repo: dataver.Repository, program: Script) -> None:
    """Each run's source brings its own part, files read one by one and shards too, whatever came first."""
    parts = {
        "dataver.fetch('vision/cats@1.1.0')": 5,
        "dataver.fetch('vision/cats@1.1.0', include='train/[01].txt')": 2,
        "dataver.open().files('vision/cats@1.1.0').read('train/3.txt')": 1,
    }
    digests = set()
    for call, files in parts.items():
        ran = program(TRAIN.replace('folder = dataver.fetch("vision/cats@production")', f"folder = {call}"))
        (told,) = mlflow.get_run(ran["run"]).inputs.dataset_inputs
        folder = Path(mlflow.data.get_source(told).load())
        assert len([each for each in folder.rglob("*") if each.is_file()]) == files
        digests.add(told.dataset.digest)
    assert len(digests) == 3 and len({each[:23] for each in digests}) == 1
    assert {len(each) for each in digests} == {32, 36}


def test_the_url_of_a_file_is_a_source(repo: dataver.Repository, tmp_path: Path) -> None:
    """So is a folder's; what does not exist in the version is refused."""
    for path, files in (("train/1.txt", ["1.txt"]), ("train", [f"{number}.txt" for number in range(5)])):
        source = resolve_dataset_source(f"dataver://vision/cats@production/{path}")
        again = type(source).from_json(source.to_json())
        folder = Path(again.load(tmp_path / path.replace("/", "-")))
        assert sorted(each.name for each in folder.rglob("*.txt")) == files
    with pytest.warns(UserWarning, match="there is no 'none.txt'"), pytest.raises(MlflowException):
        resolve_dataset_source("dataver://vision/cats@1.1.0/none.txt")


def test_a_subset_is_told_in_a_tag(repo: dataver.Repository, program: Script) -> None:
    """What of the version was read stands in the input's tag."""
    ran = program(
        TRAIN.replace('"vision/cats@production"', '"vision/cats@1.1.0", include=["train/[01].txt"]')
    )
    (told,) = mlflow.get_run(ran["run"]).inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in told.tags}
    assert json.loads(tags["dataver.subset"]) == {"patterns": ["train/[01].txt"]}
    assert tags["dataver.files"] == "2"
    assert told.dataset.profile is None


def test_a_very_long_subset_keeps_mlflows_limit(repo: dataver.Repository, program: Script) -> None:
    """Hundreds of patterns are shortened to what a tag holds, and the input is there."""
    patterns = [f"train/[0{chr(0x100 + number)}].txt" for number in range(300)]
    ran = program(TRAIN.replace('"vision/cats@production"', f'"vision/cats@1.1.0", include={patterns!r}'))
    (told,) = mlflow.get_run(ran["run"]).inputs.dataset_inputs
    subset = next(tag.value for tag in told.tags if tag.key == "dataver.subset")
    assert len(subset) <= 500
    assert json.loads(subset)["patterns"][-1] == "…"


def test_an_output_is_a_tag_of_the_run(repo: dataver.Repository, program: Script) -> None:
    """A version that is finalized inside a run is named by a tag of it."""
    ran = program("""
import mlflow, dataver
repo = dataver.open()
with mlflow.start_run() as run:
    repo.fetch("vision/cats@1.0.0", dest="raw")
    draft = repo.create("vision/clean")
    draft.add("raw/train", dest="clean")
    version = draft.finalize("cleaned")
    draft.upload()
result = {"run": run.info.run_id, "digest": version.digest}
""")
    tags = mlflow.get_run(ran["run"]).data.tags
    assert ran["digest"] in tags["dataver.output.vision/clean"]
    roles = {role for role, _ in linked(repo)[f"mlflow:{ran['run']}"]}
    assert roles == {"input", "output"}


def test_no_run_is_started(repo: dataver.Repository, program: Script) -> None:
    """A fetch in a process that imports MLflow and starts no run leaves MLflow's store as it was."""
    program('import mlflow, dataver; dataver.fetch("vision/cats@1.0.0")')
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []
    assert [key.partition(":")[0] for key in linked(repo)] == ["dataver"]


def test_a_run_that_the_environment_names_is_linked(repo: dataver.Repository, program: Script) -> None:
    """A child that never imports MLflow is linked to `MLFLOW_RUN_ID`; one that does writes to it, too."""
    with mlflow.start_run() as run:
        pass
    run_id = run.info.run_id
    program('import dataver; dataver.fetch("vision/cats@1.0.0")', MLFLOW_RUN_ID=run_id)
    assert linked(repo) == {f"mlflow:{run_id}": {("input", "1.0.0")}}
    assert not mlflow.get_run(run_id).inputs.dataset_inputs
    program('import mlflow, dataver; dataver.fetch("vision/cats@1.1.0")', MLFLOW_RUN_ID=run_id)
    assert len(mlflow.get_run(run_id).inputs.dataset_inputs) == 1


def test_an_explicit_run_is_a_tag_in_mlflow(repo: dataver.Repository, program: Script) -> None:
    """Inside `dataver.run` the link is that run's, MLflow's run is its context, and a tag points back."""
    ran = program("""
import mlflow, dataver
with dataver.run("train") as outer:
    with mlflow.start_run() as run:
        dataver.fetch("vision/cats@1.0.0")
result = {"run": run.info.run_id, "outer": outer.key}
""")
    assert mlflow.get_run(ran["run"]).data.tags["dataver.run"] == ran["outer"]
    (context,) = {link.context for event in events(repo) for link in event.links}
    assert context == f"mlflow:{ran['run']}"
    assert list(linked(repo)) == [ran["outer"]]


def test_threads_have_their_own_runs(repo: dataver.Repository, program: Script) -> None:
    """Two threads with a run each link what each of them fetched."""
    ran = program("""
import threading, mlflow, dataver
result = {}
barrier = threading.Barrier(2)
def train(label):
    with mlflow.start_run() as run:
        barrier.wait()
        dataver.fetch(f"vision/cats@{label}")
        result[label] = run.info.run_id
        barrier.wait()
threads = [threading.Thread(target=train, args=(label,)) for label in ("1.0.0", "1.1.0")]
[each.start() for each in threads]
[each.join() for each in threads]
""")
    assert linked(repo) == {f"mlflow:{ran[label]}": {("input", label)} for label in ("1.0.0", "1.1.0")}


def test_a_server_that_is_down_does_not_stop_training(repo: dataver.Repository, program: Script) -> None:
    """The tracking store vanishes during the run: the fetch works, one warning, and the link is kept."""
    ran = program("""
import mlflow, dataver, os
run = mlflow.start_run()
mlflow.set_tracking_uri("http://127.0.0.1:9")
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
folder = dataver.fetch("vision/cats@1.0.0")
result = {"run": run.info.run_id, "folder": str(folder)}
from dataver.lineage.record.recorder import flush
flush(60)
mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
""")
    assert Path(ran["folder"]).is_dir()
    assert ran["stderr"].count("Training is not affected") == 1
    assert linked(repo) == {f"mlflow:{ran['run']}": {("input", "1.0.0")}}


def test_import_mlflow_does_not_pay(tmp_path: Path) -> None:
    """`import mlflow` loads of dataver the plug-in's own module and nothing that is slow or does anything."""
    code = "import sys, mlflow; print([m for m in sys.modules if m.partition('.')[0] == 'dataver'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout.strip().splitlines()[-1]))
    assert loaded <= {
        "dataver",
        "dataver._about",
        "dataver.integrations",
        "dataver.integrations.mlflow_context",
        "dataver.integrations.mlflow_source",
    }
    assert "dataver.integrations.mlflow_context" in loaded


def test_a_wrong_digest_would_be_refused_by_mlflow() -> None:
    """MLflow takes 36 characters: the whole digest does not fit, which is why it is cut to 32."""
    whole = Dataset(name="cats", digest="a" * 64, source_type="dataver", source="{}")
    with mlflow.start_run() as run, pytest.raises(MlflowException, match="digest"):
        mlflow.MlflowClient().log_inputs(run.info.run_id, [DatasetInput(dataset=whole, tags=[])])


def test_children_are_of_the_run_of_a_parent_that_never_touches_dataver(
    repo: dataver.Repository, program: Script
) -> None:
    """Forked workers, whose words are united, and subprocesses; there is no other run."""
    ran = program("""
import mlflow, os, subprocess, sys
from multiprocessing import get_context
def work(number):
    import dataver
    dataver.open().files("vision/cats@1.1.0").read(f"train/{number}.txt")
with mlflow.start_run() as run:
    workers = [get_context("fork").Process(target=work, args=(number,)) for number in range(5)]
    [each.start() for each in workers]
    [each.join() for each in workers]
    code = "import dataver; dataver.fetch('vision/cats@1.0.0')"
    subprocess.run([sys.executable, "-c", code], check=True)
result = {"run": run.info.run_id}
""")
    assert linked(repo) == {f"mlflow:{ran['run']}": {("input", "1.0.0"), ("input", "1.1.0")}}
    read = [link for event in events(repo) for link in event.links if link.how == "read"]
    assert [(link.subset.values(), link.files) for link in read] == [({}, 5)]
    (run,) = repo.lineage.runs()
    assert run.outcome == "finished"


def test_outcomes_are_mlflows(repo: dataver.Repository, program: Script) -> None:
    """A run that failed in a sweep failed; the script's own failure later fails no run that had ended."""
    ran = program(
        """
import mlflow, dataver, json
for number in range(3):
    try:
        with mlflow.start_run() as run:
            result[str(number)] = f"mlflow:{run.info.run_id}"
            dataver.fetch("vision/cats@1.0.0")
            if number == 1:
                raise ValueError("diverged")
    except ValueError:
        pass
open("../program/runs.json", "w").write(json.dumps(result))
raise SystemError("in the report")
""",
        check=False,
    )
    assert ran["code"] == 1
    keys = json.loads((Path(repo.url).parent / "program" / "runs.json").read_text())
    outcomes = [repo.lineage.run(keys[number]).run.outcome for number in ("0", "1", "2")]
    assert outcomes == ["finished", "failed", "finished"]


def test_what_a_run_around_has_fetched_is_available_in_nested_ones(
    repo: dataver.Repository, program: Script
) -> None:
    """What is read behind a nested run is the outer one's; nothing of a nested run reaches the next one."""
    ran = program("""
import mlflow, dataver
with mlflow.start_run() as outer:
    dataver.fetch("vision/cats@1.0.0")
    inner = []
    for label in ("1.1.0", None):
        with mlflow.start_run(nested=True) as run:
            inner.append(f"mlflow:{run.info.run_id}")
            if label:
                dataver.fetch(f"vision/cats@{label}")
    dataver.open().files("vision/cats@1.1.0").read("train/1.txt")
result = {"outer": f"mlflow:{outer.info.run_id}", "inner": inner}
""")
    hows: dict[str, set[tuple[str | None, str]]] = {}
    for event in events(repo):
        hows.setdefault(event.run.key, set()).update((link.label, link.how) for link in event.links)
    assert hows == {
        ran["outer"]: {("1.0.0", "fetch"), ("1.1.0", "read")},
        ran["inner"][0]: {("1.0.0", "available"), ("1.1.0", "fetch")},
        ran["inner"][1]: {("1.0.0", "available")},
    }
    outer = repo.lineage.run(ran["outer"]).run
    for key in ran["inner"]:
        inner = repo.lineage.run(key).run
        assert outer.started <= inner.started <= inner.ended <= outer.ended


@pytest.mark.parametrize("fetched", [False, True])
def test_random_programs_link_each_read_to_its_run(
    repo: dataver.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: bool
) -> None:
    """Threads, pools, tasks, forks, nested and failed runs: who read what is what the program knows.

    `DATAVER_TEST_PROGRAMS` says how many, and which seed: `500,7`.
    """
    count, seed = map(int, PROGRAMS.split(","))
    for number in range(count):
        folder = tmp_path / "files" / f"p{number:03}"
        folder.mkdir(parents=True)
        for file in range(READS):
            (folder / f"{file:02}.txt").write_text(f"p{number:03}/{file:02}.txt")
    version = repo.sync(tmp_path / "files", "programs", workspace=tmp_path / "work").version
    assert version is not None
    if fetched:
        repo.fetch("programs")
    script = Path(__file__).with_name("mlflow_programs.py")
    command = [sys.executable, str(script), str(seed), str(count), str(tmp_path / "out.json")]
    environment = {**os.environ, "DATAVER_LINEAGE": "on", "GIT_PYTHON_REFRESH": "quiet"}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-4000:]
    warned = [line for line in done.stderr.splitlines() if "LineageWarning" in line]
    assert [line for line in warned if "and sent later" not in line] == []
    repo.lineage.sync()  # an exit does not wait for all on a slow machine
    told = json.loads((tmp_path / "out.json").read_text())
    found = who_read(repo, version)
    said = sorted(events(repo), key=lambda event: event.run.sequence)  # the highest holds, as in the index
    outcomes = {event.run.key: event.run.outcome for event in said}
    available = who_read(repo, version, available=True)
    wrong = {
        path: (found.get(path), key)
        for path, key in told["expected"].items()
        if found.get(path, set()) != ({key} if key else set())
        # outside of any run: the process's own, which leaves it to the runs that begin later
        and not (
            key is None and (found.get(path) == {told["own"]} or (path not in found and path in available))
        )
    }
    assert wrong == {}
    linked_runs = outcomes.keys() & told["outcomes"].keys()
    assert {key: outcomes[key] for key in linked_runs} == {key: told["outcomes"][key] for key in linked_runs}


def who_read(
    repo: dataver.Repository, version: dataver.Version, *, available: bool = False
) -> dict[str, set[str]]:
    """Return which runs read each file of a version, or could, from the events in the repository."""
    from dataver.lineage.queries.content import parse_listing
    from dataver.tree.selection import Selection

    paths = [entry.path for entry in version.entries()]
    found: dict[str, set[str]] = {}
    for event in events(repo):
        for link in event.links:
            if (link.how == "available") != available or link.record != version.record_id:
                continue
            subset = link.subset
            chosen = list(subset.paths)
            if subset.listed:
                chosen = parse_listing(repo._core.events.attachment(subset.listed))
            elif not subset.paths:
                chosen = [*filter(Selection(subset.patterns).matcher(), paths)]
            for path in chosen:
                found.setdefault(path, set()).add(event.run.key)
    return found
