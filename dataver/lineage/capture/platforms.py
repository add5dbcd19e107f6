"""Where processes run: Ray, SLURM, GitHub Actions, torchrun. As `orchestrators`, with the same manners."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver.lineage.capture.found import Found, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["github", "ray", "slurm", "torchrun"]


def ray(modules: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Found]:
    """Ray: the trial of Ray Tune, else the job, inside the session of its cluster.

    Nothing is asked unless Ray is initialised: some of its calls would start a cluster.
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
    """SLURM: the job (each task of an array is one), and the array around it."""
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
    """GitHub Actions: an attempt's job (the runner's id tells those of a matrix apart), and the run."""
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
    """Torchrun: the rendezvous id; where nobody chose one, the launching process of a single node."""
    del modules
    run = env.get("TORCHELASTIC_RUN_ID")
    if not run:
        return
    facts: dict[str, Any] = {
        "world": env.get("WORLD_SIZE"),
        "restarts": env.get("TORCHELASTIC_RESTART_COUNT"),
    }
    master = f"{env.get('MASTER_ADDR', '')}:{env.get('MASTER_PORT', '')}"
    if run != "none":
        yield found("torchrun", "launcher", run, **facts)
        return
    launcher = _launcher()
    one_node = env.get("GROUP_WORLD_SIZE", "1") == "1"
    whole = one_node and launcher is not None
    yield found("torchrun", "launcher", launcher if whole else master, whole=whole, **facts)


def _launcher() -> str | None:
    """Name the parent process as no other process will be named: by machine, number and start."""
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except (OSError, IndexError):
        return None
    named = f"{os.uname().nodename} {boot} {parent} {started}"
    return blake2b(named.encode(), digest_size=16).hexdigest()
