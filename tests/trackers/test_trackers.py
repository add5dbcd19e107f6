"""What all trackers have in common; needs none of them."""

import json
import os
import subprocess
import sys

import pytest

from dataver.formats.event import Subset
from dataver.lineage.trackers.base import Tracker, Use, context_of, trackers
from dataver.lineage.trackers.runs_in_environment import ANNOUNCED
from dataver.lineage.trackers.wording import facts, subset_text, uri

USE = Use(
    role="input",
    repository_id="b" * 32,
    repository_url="s3://bucket/repo",
    dataset="vision/cats",
    label="1.0.0",
    ref="vision/cats@1.0.0",
    tree="a" * 64,
    record="c" * 64,
    subset=Subset(),
    files=3,
    size=5,
)


@pytest.fixture(autouse=True)
def nothing_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run in the environment but what a test puts there."""
    for tracker in ANNOUNCED:
        for name in (*tracker.row.run, *tracker.row.around):
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("longest", [20, 60, 250, 500])
def test_a_subset_fits_and_stays_json(longest: int) -> None:
    """However many paths were read, the text keeps the limit, parses, and says that it was shortened."""
    subset = Subset(patterns=("a/**",), paths=tuple(f"train/{number:05}.jpg" for number in range(2_000)))
    text = subset_text(subset, longest)
    assert len(text) <= longest
    assert "…" in json.dumps(json.loads(text), ensure_ascii=False)


def test_a_subset_that_fits_is_whole() -> None:
    """What fits is told as it is; the whole version is told by silence."""
    subset = Subset(patterns=("b", "a"), shard=(2, 8), exclude=("*.tmp",))
    assert json.loads(subset_text(subset, 500)) == subset.values()
    assert subset_text(Subset(), 500) == ""
    assert subset_text(Subset(paths=("x" * 600,)), 500) == '{"files":"…"}'


def test_digests_are_never_shortened() -> None:
    """Identities are told in full, in the facts and in the URI."""
    assert facts(USE, longest=20)["digest"] == uri(USE).partition("@")[2] == f"dv1:{'a' * 64}"
    assert facts(USE, longest=20)["record"] == "c" * 64
    assert "asked" not in facts(USE)


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"MLFLOW_RUN_ID": "4f1c"}, "mlflow:4f1c"),
        ({"CLEARML_TASK_ID": "77aa"}, "clearml:77aa"),
        ({"CLEARML_PROC_MASTER_ID": "312:77aa"}, "clearml:77aa"),
        ({"CLEARML_PROC_MASTER_ID": "312:", "TRAINS_TASK_ID": "77ab"}, "clearml:77ab"),
        ({"WANDB_RUN_ID": "x1"}, "wandb:x1"),
        ({"WANDB_RUN_ID": "x1", "WANDB_ENTITY": "me", "WANDB_PROJECT": "cats"}, "wandb:me/cats/x1"),
        ({"COMET_EXPERIMENT_KEY": "k"}, "comet:k"),
        ({"WANDB_RUN_ID": "my run", "WANDB_PROJECT": "team/cats"}, "wandb:team/cats/my%20run"),
        ({"MLFLOW_RUN_ID": ""}, None),
    ],
)
def test_runs_are_known_by_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], key: str | None
) -> None:
    """A process that imports no tracker knows the run that its launcher names."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = [context.key for tracker in ANNOUNCED if (context := tracker.current()) is not None]
    assert found == ([key] if key else [])


def test_every_tracker_has_what_the_protocol_asks() -> None:
    """All that is listed can be asked and told."""
    assert all(isinstance(each, Tracker) for each in trackers())


def test_an_object_of_nobodys_is_no_run() -> None:
    """`context_of` knows trackers' objects only."""
    assert context_of(object()) is None


def test_looking_for_trackers_imports_none() -> None:
    """Asking which trackers are used imports none of them, nor what reads package metadata."""
    code = (
        "import sys; from dataver.lineage.trackers.base import trackers; [t.current() for t in trackers()];"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'mlflow', 'clearml', 'wandb', 'comet_ml',"
        " 'trackio', 'zenml'}), 'sqlite3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[] False\n"
