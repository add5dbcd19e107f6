"""The trackers, orchestrators, clusters, CI systems and launchers that dataver knows, one row each.

To add one, write its reader and a row: for a tracker a module with the system's name in `trackers/`, for the
others a function with that name in the module of `capture/` that the row names. The order of the rows
determines the primary tracker, and which task or job is the nearest.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["SYSTEMS", "TRACKERS", "System"]


class System(NamedTuple):
    """One system.

    Attributes:
        name: its name in run keys.
        reader: `trackers`, or the module of `capture/` with its function.
        modules: keys in `sys.modules` with an object for the current run. A read asks it if any is imported.
        run: environment variables that identify the run; for a tracker, the first one set has the run's id.
        around: environment variables for the namespace of that id, widest first; unset ones are omitted.
        job: environment variables that identify a task or job. A child process with other values is in
            another job.
    """

    name: str
    reader: str
    modules: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    job: tuple[str, ...] = ()


_CLEARML: Final = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID", "CLEARML_TASK_ID", "TRAINS_TASK_ID")
_AIRFLOW: Final = ("AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_TRY_NUMBER")

SYSTEMS: Final = (
    System("mlflow", "trackers", ("mlflow",), run=("MLFLOW_RUN_ID",)),
    System("clearml", "trackers", ("clearml",), run=_CLEARML),
    System("wandb", "trackers", ("wandb",), ("WANDB_RUN_ID",), around=("WANDB_ENTITY", "WANDB_PROJECT")),
    System("trackio", "trackers", ("trackio",)),
    System("comet", "trackers", ("comet_ml",), run=("COMET_EXPERIMENT_KEY",)),
    System("zenml", "trackers", ("zenml",)),
    System("airflow", "orchestrators", ("airflow",), job=_AIRFLOW),
    System("prefect", "orchestrators", ("prefect",), job=("PREFECT__FLOW_RUN_ID",)),
    System("dagster", "orchestrators", ("dagster", "dagster_pipes")),
    System("metaflow", "orchestrators", ("metaflow",), job=("METAFLOW_RUN_ID", "METAFLOW_TASK_ID")),
    System("kubeflow", "orchestrators", job=("KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID")),
    System(
        "sagemaker",
        "orchestrators",
        run=("SM_TRAINING_ENV", "TRAINING_JOB_ARN"),
        job=("TRAINING_JOB_NAME",),
    ),
    System("azureml", "orchestrators", job=("AZUREML_RUN_ID",)),
    System("databricks", "orchestrators"),
    System("ray", "platforms", ("ray",)),
    System("slurm", "platforms", job=("SLURM_JOBID", "SLURM_JOB_ID")),
    System("github", "platforms", job=("GITHUB_JOB", "GITHUB_RUN_ID", "RUNNER_TRACKING_ID")),
    System("torchrun", "platforms", run=("TORCHELASTIC_RUN_ID",)),
)

TRACKERS: Final = tuple(each for each in SYSTEMS if each.reader == "trackers")
