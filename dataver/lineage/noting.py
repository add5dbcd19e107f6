"""Notes a fetch at next to no cost: the recorder is imported on a thread.

The idea: importing the recorder takes longer than a warm fetch. So the first note of a process is handed over
to a thread, with the time it was made, and the fetch returns. Where the module of a tracker or an
orchestrator is loaded, the calling thread looks which of their runs it is in, and hands that over, too. Later
notes go to the recorder straight away; they take a fraction of a millisecond.

What children must know at once is said at once: the run of the process's own, in `DATAVER_PARENT_RUN`
(`which_run`), unless the environment speaks of another, which children see as well.

A fork waits while the thread imports (a second at the most): a child that inherits a half-imported module
could never import it. At exit the notes that are under way are waited for, like those in the queue.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from dataver.lineage import settings, strangers

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.lineage.capture.contexts import Glance
    from dataver.repository import Published, Repository

__all__ = [
    "EXIT_SECONDS",
    "MODULES",
    "PARENT",
    "at_exit",
    "fork_gate",
    "identity",
    "note_fetch",
    "wait",
    "wanted",
    "where",
]

MODULES: Final = (
    "airflow", "clearml", "comet_ml", "dagster", "dagster_pipes", "metaflow", "mlflow", "neptune", "prefect",
    "ray", "wandb", "zenml",
)  # fmt: skip
_JOBS: Final = (
    "AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_TRY_NUMBER", "AZUREML_RUN_ID", "GITHUB_JOB",
    "GITHUB_RUN_ID", "KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID", "METAFLOW_RUN_ID", "METAFLOW_TASK_ID",
    "PREFECT__FLOW_RUN_ID", "RUNNER_TRACKING_ID", "SLURM_JOBID", "SLURM_JOB_ID", "TRAINING_JOB_NAME",
)  # fmt: skip
_OTHERS: Final = (
    "CLEARML_PROC_MASTER_ID", "CLEARML_TASK_ID", "COMET_EXPERIMENT_KEY", "DATAVER_PARENT_RUN", "DATAVER_RUN",
    "MLFLOW_RUN_ID", "NEPTUNE_CUSTOM_RUN_ID", "SM_TRAINING_ENV", "TORCHELASTIC_RUN_ID", "TRAINING_JOB_ARN",
    "TRAINS_PROC_MASTER_ID", "TRAINS_TASK_ID", "WANDB_RUN_ID",
)  # fmt: skip
PARENT: Final = "DATAVER_PARENT_RUN"
EXIT_SECONDS: Final = 10.0
_REST: Final = 0.02  # seconds that the thread leaves to the caller first
_FORK_SECONDS: Final = 1.0


class Identity(NamedTuple):
    """How this process is called: its number, its id in events, the key of the run of its own."""

    pid: int
    process: str
    key: str


fork_gate = threading.RLock()
"""Held by our threads while they import; a fork waits for it."""

_lock = threading.RLock()
_waiting: list[Callable[[], None]] = []
_thread: threading.Thread | None = None
_hurry = threading.Event()
_registered = False
_held = False
_identity: Identity | None = None


def note_fetch(
    repo: Repository,
    published: Published,
    *,
    patterns: tuple[str, ...],
    shard: tuple[int, int] | None = None,
    files: int,
    size: int,
    run: object,
    asked: str,
) -> None:
    """Note that the current run fetched a version. Never raises.

    Args:
        repo: the repository.
        published: the version.
        patterns: globs that chose its files; empty for all of it.
        shard: `(rank, world)` where it fetched the part of one reader of several.
        files: how many files that is.
        size: bytes of them.
        run: the run, where the caller names it.
        asked: the reference that the user typed.
    """
    if run is None and not wanted():
        return
    from datetime import UTC, datetime

    moment = datetime.now(UTC)
    seen: Glance | None = None

    def note() -> None:
        from dataver.formats.event import Subset
        from dataver.lineage.recorder import note_input

        note_input(
            repo,
            published,
            subset=Subset(patterns=patterns, shard=shard),
            files=files,
            size=size,
            how="fetch",
            run=run,
            asked=asked,
            when=moment,
            seen=seen,
        )

    try:
        if _thread is None and "dataver.lineage.recorder" in sys.modules:
            note()
            return
        if _must_look():
            from dataver.lineage.capture.contexts import glance

            seen = glance()
        _later(note)
    except Exception as error:  # noqa: BLE001  # invariant 8
        settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")


def wanted() -> bool:
    """Return whether a note can find a run: not where lineage is off, and not of a command typed in a shell.

    Such a command pays nothing for lineage, then.
    """
    if not settings.enabled():
        return False
    return settings.implicit_runs() or _told() or any(name in sys.modules for name in MODULES)


def _told() -> bool:
    """Return whether the environment tells of any run."""
    return any(name in os.environ for name in (*_JOBS, *_OTHERS))


def _must_look() -> bool:
    """Return whether this thread may be in a run that only it can see; if in doubt, it looks."""
    others = strangers.recall()
    return others is None or any(name in sys.modules for name in (*MODULES, *others))


def identity() -> Identity:
    """Return how this process is called; drawn when first asked for."""
    global _identity  # noqa: PLW0603  # one a process
    if _identity is None or _identity.pid != os.getpid():
        _identity = Identity(os.getpid(), os.urandom(16).hex(), f"dataver:{os.urandom(16).hex()}")
    return _identity


def where() -> str:
    """Hash the tasks and jobs that the environment tells of: the same in a parent and its children."""
    found = [f"{name}={value}" for name in _JOBS if (value := os.environ.get(name))]
    return f"{crc32(chr(0).join(found).encode('utf-8', 'replace')):08x}"


def wait(seconds: float | None) -> None:
    """Wait for notes that are under way."""
    _hurry.set()
    thread = _thread
    if thread is not None and thread is not threading.current_thread() and thread.is_alive():
        thread.join(seconds)


def at_exit() -> None:
    """Have what is noted sent at exit: before thread pools end, which some stores need to open a connection.

    `threading._register_atexit` is what `concurrent.futures` uses; what registers later is called earlier.
    """
    global _registered  # noqa: PLW0603  # once a process; forked children inherit it
    if _registered:
        return
    _registered = True
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
    try:
        getattr(threading, "_register_atexit", atexit.register)(_finish)
    except RuntimeError:
        pass  # Python is ending already: the queue stays for another process


def _finish() -> None:
    """Wait for notes that are under way, then for the sending, in bounds."""
    try:
        wait(EXIT_SECONDS)
        recorder = sys.modules.get("dataver.lineage.recorder")
        if recorder is not None:
            recorder.finish()
    except KeyboardInterrupt:
        pass  # who presses Ctrl-C now wants to leave; the queue stays
    except Exception as error:  # noqa: BLE001  # invariant 8; such as of a module whose import Ctrl-C cut short
        settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")


def _later(note: Callable[[], None]) -> None:
    """Have a thread note it."""
    global _thread  # noqa: PLW0603  # one thread a process
    at_exit()
    if settings.implicit_runs() and not _told():
        me = identity()
        os.environ[PARENT] = f"{me.key} {me.process} {me.pid} {where()}"
    with _lock:
        _waiting.append(note)
        if _thread is None or not _thread.is_alive():  # Ctrl-C can fall between the next two lines
            _thread = threading.Thread(target=_drain, name="dataver-noting", daemon=True)
            _thread.start()


def _drain() -> None:
    """Note what waits, in order, and end."""
    global _thread  # noqa: PLW0603
    _hurry.wait(_REST)
    while True:
        with _lock:
            if not _waiting:
                _thread = None
                return
            note = _waiting.pop(0)
        with fork_gate:
            try:
                note()
                strangers.remember()
            except Exception as error:  # noqa: BLE001  # invariant 8
                settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")


def _before_fork() -> None:
    global _held  # noqa: PLW0603
    _hurry.set()
    _held = fork_gate.acquire(timeout=_FORK_SECONDS)


def _after_fork() -> None:
    global _held  # noqa: PLW0603
    if _held:
        _held = False
        fork_gate.release()


def _in_child() -> None:
    """Begin anew: what the parent was about to note is the parent's, and its threads are not here."""
    global fork_gate, _lock, _thread, _held
    fork_gate, _lock = threading.RLock(), threading.RLock()
    _thread, _held = None, False
    _waiting.clear()
    recorder = sys.modules.get("dataver.lineage.recorder")
    if recorder is not None:
        recorder.forked()
