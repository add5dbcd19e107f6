"""Clusters, CI and launchers: Ray, SLURM, GitHub Actions, torchrun. Same interface as `orchestrators`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dataver.lineage.capture.detection import Found, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Imports in functions: only ranks of a launcher need it.

__all__ = ["github", "ray", "slurm", "torchrun"]


def ray(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield the trial of Ray Tune, and the job, within the session of its cluster.

    Calls nothing unless Ray is initialised: some of its functions would start a cluster.
    """
    del env
    module = modules.get("ray")
    if module is None or not module.is_initialized():
        return
    context = module.get_runtime_context()
    node = modules["ray._private.worker"].global_worker.node
    session, job = node.session_name, context.get_job_id()
    trial = None
    if "ray.tune" in modules and modules.get("ray.train._internal.session") is not None:
        held = modules["ray.train._internal.session"].get_session()
        trial = getattr(held, "trial_id", None) or getattr(getattr(held, "trial_info", None), "id", None)
    if trial:
        yield found("ray", "cluster", session, job, trial, trial=trial)
    yield found("ray", "cluster", session, job, whole=not trial)


def slurm(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield SLURM's job (each task of an array is one), and its array."""
    del modules
    job = env.get("SLURM_JOB_ID") or env.get("SLURM_JOBID")
    if not job:
        return
    cluster = env.get("SLURM_CLUSTER_NAME") or env.get("SLURM_SUBMIT_HOST")
    where = [cluster] if cluster else []
    array = env.get("SLURM_ARRAY_JOB_ID")
    yield found(
        "slurm",
        "cluster",
        *where,
        job,
        name=env.get("SLURM_JOB_NAME"),
        partition=env.get("SLURM_JOB_PARTITION"),
        array_task=env.get("SLURM_ARRAY_TASK_ID"),
        restarts=env.get("SLURM_RESTART_COUNT"),
    )
    if array and array != job:
        yield found("slurm", "cluster", *where, array, whole=False, name=env.get("SLURM_JOB_NAME"))


def github(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield the job of a GitHub Actions attempt (with the runner's id, for a matrix), and the run."""
    del modules
    if env.get("GITHUB_ACTIONS") != "true":
        return
    server = env.get("GITHUB_SERVER_URL", "https://github.com")
    host = server.partition("://")[2].rpartition("@")[2]
    repository, run = env["GITHUB_REPOSITORY"], env["GITHUB_RUN_ID"]
    where = [repository] if host == "github.com" else [host, repository]
    attempt, job = env.get("GITHUB_RUN_ATTEMPT", "1"), env.get("GITHUB_JOB")
    facts: dict[str, Any] = {
        "url": f"https://{host}/{repository}/actions/runs/{run}",
        "workflow": env.get("GITHUB_WORKFLOW"),
        "commit": env.get("GITHUB_SHA"),
    }
    if job:
        runner = env.get("RUNNER_TRACKING_ID", "").removeprefix("github_")[:8]
        yield found(
            "github", "ci", *where, run, attempt, job, *([runner] if runner else []), job=job, **facts
        )
    yield found("github", "ci", *where, run, whole=not job, **facts)


def torchrun(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Yield torchrun's launch, since several launches may use one rendezvous id.

    On one node it is identified by the launching process; on several, by rendezvous id and master address.
    On several nodes without an id it is not whole.
    """
    del modules
    run = env.get("TORCHELASTIC_RUN_ID")
    if not run:
        return
    facts: dict[str, Any] = {
        "world": env.get("WORLD_SIZE"),
        "restarts": env.get("TORCHELASTIC_RESTART_COUNT"),
    }
    master = f"{env.get('MASTER_ADDR', '')}:{env.get('MASTER_PORT', '')}"
    launcher = _launcher() if env.get("GROUP_WORLD_SIZE", "1") == "1" else None
    chosen = [run] if run != "none" else []
    whole = bool(chosen) or launcher is not None
    yield found("torchrun", "launcher", *chosen, launcher or master, whole=whole, **facts)


def _launcher() -> str | None:
    """Return a unique id of the parent process, from machine, process number and start time."""
    from dataver.machine.process_identity import boot_id, started

    parent = os.getppid()
    boot, start = boot_id(), started(parent)
    if not (boot and start):
        return None
    from dataver.hashing.digest import digest

    return digest(f"{os.uname().nodename} {boot} {parent} {start}".encode()).hex()[:32]
