"""Tasks of orchestrators: Airflow, Prefect, Dagster, Metaflow, Kubeflow, SageMaker, AzureML, Databricks.

Each detector takes the imported modules and the environment, and yields contexts, nearest first: the task,
then its run or flow. It may raise; `contexts.look` handles that as "not present".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataver.lineage.capture.detection import Found, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["airflow", "azureml", "dagster", "databricks", "kubeflow", "metaflow", "prefect", "sagemaker"]


def airflow(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield Airflow's task instance (a retry is another one), and its DAG run.

    The task runner sets `AIRFLOW_CTX_…`, which subprocesses inherit. The context object has priority; it is
    in the SDK of Airflow 3, and beside the operators in Airflow 2.
    """
    dag, run, task = (env.get(f"AIRFLOW_CTX_{name}") for name in ("DAG_ID", "DAG_RUN_ID", "TASK_ID"))
    attempt: Any = env.get("AIRFLOW_CTX_TRY_NUMBER")
    instance = _airflow_instance(modules)
    if instance is not None:
        dag, run, task = instance.dag_id, instance.run_id, instance.task_id
        attempt = getattr(instance, "try_number", attempt)
    index = getattr(instance, "map_index", -1)
    if not (dag and run):
        return
    if task:
        parts = [dag, run, task]
        if isinstance(index, int) and index >= 0:
            parts.append(str(index))
        if attempt and int(attempt) > 1:
            parts.append(f"try-{attempt}")
        yield found(
            "airflow",
            "orchestrator",
            *parts,
            dag=dag,
            task=task,
            logical_date=env.get("AIRFLOW_CTX_LOGICAL_DATE"),
        )
    yield found("airflow", "orchestrator", dag, run, whole=not task, dag=dag)


def _airflow_instance(modules: Mapping[str, Any]) -> Any:
    for name in ("airflow.sdk.definitions._internal.contextmanager", "airflow.models.taskinstance"):
        held = getattr(modules.get(name), "_CURRENT_CONTEXT", None)
        if held:
            return held[-1]["ti"]
    return None


def prefect(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield Prefect's flow run, and the task run, which is whole only without a flow.

    Reads the context objects instead of `prefect.runtime`, which may send a request to the server.
    """
    module = modules.get("prefect.context")
    flow = module.FlowRunContext.get() if module is not None else None
    task = module.TaskRunContext.get() if module is not None else None
    flow_run, task_run = getattr(flow, "flow_run", None), getattr(task, "task_run", None)
    flow_id = (
        getattr(flow_run, "id", None)
        or getattr(task_run, "flow_run_id", None)
        or env.get("PREFECT__FLOW_RUN_ID")
    )
    if flow_id:
        yield found(
            "prefect",
            "orchestrator",
            flow_id,
            flow=getattr(getattr(flow, "flow", None), "name", None),
            name=getattr(flow_run, "name", None),
        )
    if task_run is not None:
        yield found(
            "prefect", "orchestrator", task_run.id, whole=not flow_id, task=getattr(task_run, "name", None)
        )


def dagster(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield Dagster's step, and its run; in an external process, those of Dagster Pipes."""
    del env  # DAGSTER_PIPES_CONTEXT may refer to a bucket, so only the opened context is read
    compute = modules.get("dagster._core.execution.context.compute")
    held = compute.current_execution_context.get() if compute is not None else None
    if held is not None:
        step = getattr(held, "op_execution_context", held).get_step_execution_context().step.key
        job = getattr(held, "job_name", None)
        yield found("dagster", "orchestrator", held.run_id, step, job=job, step=step)
        yield found("dagster", "orchestrator", held.run_id, whole=False, job=job)
        return
    pipes = modules.get("dagster_pipes")
    if pipes is None or not pipes.PipesContext.is_initialized():
        return
    context = pipes.PipesContext.get()
    job = context.job_name
    keys: list[str] = list(context.asset_keys) if context.is_asset_step else []
    if len(keys) == 1:
        step = "__".join(keys[0].split("/"))  # Dagster's name for the step of a single asset
        yield found("dagster", "orchestrator", context.run_id, step, job=job, asset=keys[0])
    yield found("dagster", "orchestrator", context.run_id, whole=len(keys) != 1, job=job)


def metaflow(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield Metaflow's task (flow/run/step/task), and its run; child processes only have the run's id."""
    current = getattr(modules.get("metaflow.metaflow_current"), "current", None)
    if current is not None and current.is_running_flow:
        flow, run = current.flow_name, current.run_id
        yield found(
            "metaflow", "orchestrator", flow, run, current.step_name, current.task_id, step=current.step_name
        )
        yield found("metaflow", "orchestrator", flow, run, whole=False)
        return
    run, flow = env.get("METAFLOW_RUN_ID"), env.get("METAFLOW_FLOW_NAME")
    if run:
        yield found(
            "metaflow", "orchestrator", *([flow] if flow else []), run, step=env.get("METAFLOW_STEP_NAME")
        )


def kubeflow(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield the pod of a task of Kubeflow Pipelines, and the run if the pipeline sets `KFP_RUN_ID`."""
    del modules  # Kubeflow has no object at run time
    pod, run = env.get("KFP_POD_UID") or env.get("KFP_POD_NAME"), env.get("KFP_RUN_ID")
    if pod:
        yield found("kubeflow", "orchestrator", *([run] if run else []), pod, pod=env.get("KFP_POD_NAME"))
    if run:
        yield found("kubeflow", "orchestrator", run, whole=not pod)


def sagemaker(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield SageMaker's training job, by its ARN if that is set, else by region and name."""
    del modules
    arn, name = env.get("TRAINING_JOB_ARN"), env.get("TRAINING_JOB_NAME")
    training = env.get("SM_TRAINING_ENV")
    if training and not name:
        name = json.loads(training).get("job_name")
    if arn:
        yield found("sagemaker", "orchestrator", arn, name=name or arn.rpartition("/")[2])
    elif name:
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        yield found("sagemaker", "orchestrator", *([region] if region else []), name, name=name)


def azureml(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield AzureML's job, within its workspace."""
    del modules
    run = env.get("AZUREML_RUN_ID")
    workspace = env.get("AZUREML_ARM_WORKSPACE_NAME")
    if run:
        experiment = env.get("AZUREML_ARM_PROJECT_NAME")
        yield found(
            "azureml", "orchestrator", *([workspace] if workspace else []), run, experiment=experiment
        )


def databricks(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield Databricks's job run, available only from MLflow's helpers, and the cluster."""
    if "DATABRICKS_RUNTIME_VERSION" not in env:
        return
    runtime = env["DATABRICKS_RUNTIME_VERSION"]
    helpers = modules.get("mlflow.utils.databricks_utils")
    job, run = (helpers.get_job_id(), helpers.get_job_run_id()) if helpers is not None else (None, None)
    if job and run:
        yield found("databricks", "orchestrator", job, run, job=job, runtime=runtime)
    cluster = env.get("DB_CLUSTER_ID")
    if cluster:
        yield found("databricks", "cluster", "cluster", cluster, whole=False, runtime=runtime)
