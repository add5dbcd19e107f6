"""A context: one system that a run belongs to. Part of an event (`formats/event.py`).

A module of its own, and a tuple: a fetch waits for it, and for nothing else of an event.
"""

from typing import Final, NamedTuple

__all__ = ["KINDS", "Context"]

KINDS: Final = ("explicit", "tracker", "orchestrator", "cluster", "ci", "launcher")


class Context(NamedTuple):
    """One system that a run belongs to.

    Attributes:
        system: `mlflow`, `slurm` …; lower case.
        id: the run's id there, as unique as that system makes it (`entity/project/id` for W&B).
        kind: one of `KINDS`; the first tracker is a run's primary context, unless the user named the run.
        facts: short text facts to show: experiment, project, name, url. Never a secret.
    """

    system: str
    id: str
    kind: str
    facts: dict[str, str] = {}  # noqa: RUF012  # never changed

    @property
    def key(self) -> str:
        """`system:id`, by which people and the index find it."""
        return f"{self.system}:{self.id}"
