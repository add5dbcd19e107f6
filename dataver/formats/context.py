"""A context: one system that a run belongs to. Part of an event (`formats/event.py`).

A separate module and a tuple, because a fetch imports it and nothing else of an event.
"""

from typing import Final, NamedTuple

__all__ = ["KINDS", "Context"]

KINDS: Final = ("explicit", "tracker", "orchestrator", "cluster", "ci", "launcher")


class Context(NamedTuple):
    """One system that a run belongs to.

    Attributes:
        system: `mlflow`, `slurm` …; lower case.
        id: the run's id in that system, as unique as the system makes it (`entity/project/id` for W&B).
        kind: one of `KINDS`; the first tracker is a run's primary context, unless the user named the run.
        facts: short texts to display: experiment, project, name, url. Never a secret.
    """

    system: str
    id: str
    kind: str
    facts: dict[str, str] = {}  # noqa: RUF012  # never changed

    @property
    def key(self) -> str:
        """`system:id`, which identifies the context in commands and in the index."""
        return f"{self.system}:{self.id}"
