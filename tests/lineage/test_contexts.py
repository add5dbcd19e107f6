"""Each system is known by what it really sets, and nothing is known where it is not."""

import os
import subprocess
import sys

import pytest

from dataver.formats.event import KINDS, check_run_key
from dataver.lineage.attribution import owner
from dataver.lineage.attribution.state import STATE
from dataver.lineage.capture.contexts import DETECTORS, look
from dataver.lineage.capture.detection import found

# Environments as the systems set them, the key of the run that follows, and keys of what is around it.
ENVIRONMENTS = {
    "airflow": (
        {
            "AIRFLOW_CTX_DAG_ID": "train",
            "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-01-02T00:00:00+00:00",
            "AIRFLOW_CTX_TASK_ID": "fit",
            "AIRFLOW_CTX_TRY_NUMBER": "1",
        },
        "airflow:train/scheduled__2026-01-02T00:00:00+00:00/fit",
        {"airflow:train/scheduled__2026-01-02T00:00:00+00:00"},
    ),
    "airflow, second try": (
        {
            "AIRFLOW_CTX_DAG_ID": "train",
            "AIRFLOW_CTX_DAG_RUN_ID": "by hand",
            "AIRFLOW_CTX_TASK_ID": "fit",
            "AIRFLOW_CTX_TRY_NUMBER": "2",
        },
        "airflow:train/by%20hand/fit/try-2",
        {"airflow:train/by%20hand"},
    ),
    "prefect": (
        {"PREFECT__FLOW_RUN_ID": "7c1d8f0e-0000-4000-8000-1234567890ab"},
        "prefect:7c1d8f0e-0000-4000-8000-1234567890ab",
        set(),
    ),
    "kubeflow": ({"KFP_POD_NAME": "train-x1", "KFP_POD_UID": "uid-1"}, "kubeflow:uid-1", set()),
    "kubeflow with the run's id": (
        {"KFP_POD_NAME": "train-x1", "KFP_POD_UID": "uid-1", "KFP_RUN_ID": "run-1"},
        "kubeflow:run-1/uid-1",
        {"kubeflow:run-1"},
    ),
    "sagemaker": (
        {
            "TRAINING_JOB_NAME": "job-1",
            "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job-1",
            "SM_TRAINING_ENV": '{"job_name": "job-1"}',
        },
        "sagemaker:arn:aws:sagemaker:eu-west-1:123456789012:training-job/job-1",
        set(),
    ),
    "sagemaker, toolkit only": (
        {"SM_TRAINING_ENV": '{"job_name": "job-1"}', "AWS_REGION": "eu-west-1"},
        "sagemaker:eu-west-1/job-1",
        set(),
    ),
    "azureml": (
        {
            "AZUREML_RUN_ID": "quiet_pear_1",
            "AZUREML_ARM_WORKSPACE_NAME": "lab",
            "AZUREML_ARM_PROJECT_NAME": "e",
        },
        "azureml:lab/quiet_pear_1",
        set(),
    ),
    "databricks": (
        {"DATABRICKS_RUNTIME_VERSION": "15.4", "DB_CLUSTER_ID": "0101-123456-abc"},
        None,
        {"databricks:cluster/0101-123456-abc"},
    ),
    "metaflow, in a child": ({"METAFLOW_RUN_ID": "1700000000000000"}, "metaflow:1700000000000000", set()),
    "slurm": (
        {
            "SLURM_JOB_ID": "4711",
            "SLURM_CLUSTER_NAME": "alps",
            "SLURM_JOB_NAME": "train",
            "SLURM_PROCID": "3",
        },
        "slurm:alps/4711",
        set(),
    ),
    "slurm array": (
        {
            "SLURM_JOB_ID": "4713",
            "SLURM_ARRAY_JOB_ID": "4711",
            "SLURM_ARRAY_TASK_ID": "2",
            "SLURM_CLUSTER_NAME": "alps",
        },
        "slurm:alps/4713",
        {"slurm:alps/4711"},
    ),
    "github": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "lab/cats",
            "GITHUB_RUN_ID": "99",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_JOB": "train",
            "RUNNER_TRACKING_ID": "github_1a2b3c4d-0000-4000-8000-000000000000",
        },
        "github:lab/cats/99/2/train/1a2b3c4d",
        {"github:lab/cats/99"},
    ),
    "github enterprise": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://git.lab.example",
            "GITHUB_REPOSITORY": "lab/cats",
            "GITHUB_RUN_ID": "99",
            "GITHUB_JOB": "train",
        },
        "github:git.lab.example/lab/cats/99/1/train",
        {"github:git.lab.example/lab/cats/99"},
    ),
    "torchrun": (
        {
            "TORCHELASTIC_RUN_ID": "job-7",
            "WORLD_SIZE": "8",
            "GROUP_WORLD_SIZE": "2",
            "MASTER_ADDR": "n1",
            "MASTER_PORT": "29500",
        },
        "torchrun:job-7/n1:29500",
        set(),
    ),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_system_is_known_by_its_environment(name: str) -> None:
    """The run's key says which job or task it is, and what is around it is recorded too."""
    environment, key, around = ENVIRONMENTS[name]
    surroundings = look({}, environment)
    assert surroundings.whole == key
    assert {each.key for each in surroundings.contexts} == around | ({key} if key else set())
    for context in surroundings.contexts:
        assert context.kind in KINDS
        assert check_run_key(context.key)


@pytest.mark.parametrize("name", [name for name, (_, key, _) in ENVIRONMENTS.items() if key])
def test_every_system_is_on_the_list_that_is_looked_at_first(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command in a shell notes nothing where none of these variables is set, and asks no detector."""
    monkeypatch.setattr(STATE, "implicit", False)
    monkeypatch.setattr(STATE, "scopes", {})
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.setattr(owner, "_ASKED", ())
    monkeypatch.setattr(owner, "_TRACKERS", ())
    assert not owner.wanted()
    for variable, value in ENVIRONMENTS[name][0].items():
        monkeypatch.setenv(variable, value)
    assert owner.wanted()


def test_outside_of_everything_nothing_is_found() -> None:
    """A plain shell is no run."""
    assert look({}, {"HOME": "/root", "PATH": "/bin", "RANK": "0"}).contexts == ()


def test_the_nearest_system_names_the_run_and_all_are_recorded() -> None:
    """Airflow inside a SLURM job under torchrun: the task is the run."""
    environment = {}
    for name in ("torchrun", "slurm", "airflow"):
        environment |= ENVIRONMENTS[name][0]
    surroundings = look({}, environment)
    assert [each.system for each in surroundings.contexts] == ["airflow", "airflow", "slurm", "torchrun"]
    assert surroundings.whole == ENVIRONMENTS["airflow"][1]


def test_a_system_that_raises_is_not_there() -> None:
    """Foreign modules may be half imported, of another version, or outside of their run."""

    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    names = [
        "ray",
        "prefect.context",
        "dagster_pipes",
        "dagster._core.execution.context.compute",
        "airflow.sdk",
    ]
    modules = dict.fromkeys([*names, "metaflow.metaflow_current", "mlflow.utils.databricks_utils"], Broken())
    environment = ENVIRONMENTS["slurm"][0] | {
        "DATABRICKS_RUNTIME_VERSION": "15.4",
        "SM_TRAINING_ENV": "not json",
    }
    assert look(modules, environment).whole == "slurm:alps/4711"


def test_two_launches_with_one_rendezvous_id_are_two_runs() -> None:
    """The ranks of a launch agree on its run, as children of one launcher; those of another have another."""
    rank = (
        "import os; from dataver.lineage.capture.contexts import look;"
        "print(look({}, {'TORCHELASTIC_RUN_ID': 'sweep'}).whole)"
    )
    launch = (
        f"import subprocess, sys; run = lambda: subprocess.run([sys.executable, '-c', {rank!r}], check=True);"
        "run(); run()"
    )
    command = [sys.executable, "-c", launch]
    keys = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)
    ]
    assert [len(each) for each in keys] == [2, 2]
    assert len(set(keys[0])) == len(set(keys[1])) == 1 and keys[0] != keys[1]
    assert all(key.startswith("torchrun:sweep/") for each in keys for key in each)


def test_torchrun_without_an_id_is_known_by_its_launcher() -> None:
    """Ranks of one launch are one run, and the next launch is another, though both are called `none`."""
    code = "from dataver.lineage.capture import contexts; print(contexts.look({}).whole)"
    launcher = f"import subprocess, sys; [subprocess.run([sys.executable, '-c', {code!r}]) for _ in 'ab']"
    environment = os.environ | {
        "TORCHELASTIC_RUN_ID": "none",
        "GROUP_WORLD_SIZE": "1",
        "MASTER_PORT": "29500",
    }
    launches = [
        subprocess.run(
            [sys.executable, "-c", launcher], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    keys = [done.stdout.split() for done in launches]
    assert keys[0][0] == keys[0][1] != keys[1][0] == keys[1][1]
    assert look({}, environment | {"GROUP_WORLD_SIZE": "2"}).whole is None  # nodes would not agree


def test_ids_are_safe_and_bounded() -> None:
    """Whatever foreign systems call their runs, the key is one, and different ids stay different."""
    long = [found("airflow", "orchestrator", "d" * 600, end).context for end in "ab"]
    assert long[0].key != long[1].key
    for context in (*long, found("airflow", "orchestrator", "a b\n%", "c").context):
        assert check_run_key(context.key)
    with pytest.raises(ValueError, match="missing"):
        found("slurm", "cluster", None)


def test_detectors_import_nothing() -> None:
    """Invariant 8: looking never imports a system."""
    systems = "{'airflow', 'prefect', 'dagster', 'dagster_pipes', 'metaflow', 'ray', 'mlflow', 'torch'}"
    code = "import sys; from dataver.lineage.capture.contexts import look; look()"
    code = f"{code}; print({systems} & set(sys.modules))"
    environment = os.environ.copy()
    for variables, _, _ in ENVIRONMENTS.values():
        environment |= variables
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_every_detector_has_an_environment_or_a_real_run() -> None:
    """What the table lists is tried, here or with the real package."""
    tried = {name.split(",")[0].split()[0] for name in ENVIRONMENTS} | {"dagster", "ray"}
    assert {detector.__name__ for detector in DETECTORS} <= tried
