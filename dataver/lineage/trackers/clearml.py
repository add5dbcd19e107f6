"""ClearML: a version is a parameter of the task, in the section `Datasets`, like ClearML's own datasets.

- `Datasets/<name>` is `<name>@<label> dv1:<64 hex>`; a second version of a dataset in one task is
  `Datasets/<name>@<label>`. Outputs are in the section `Output datasets`.
- The task's runtime property `dataver.<role>.<name>/<label>` has the details as JSON. ClearML's own property
  `datasets` is not used: it lists ids of ClearML tasks.
- `Task.current_task()` may start a task in a child process, so the running one is read from ClearML's private
  attribute. In offline mode the same calls write to the session's folder.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects, before_method
from dataver.lineage.trackers.runs_in_environment import announced
from dataver.lineage.trackers.wording import content, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

# Imports in functions: the tracker's package, if the process has imported it.

__all__ = ["TRACKER", "ClearML"]

_SECTIONS: Final = {"input": "Datasets", "output": "Output datasets"}


class ClearML:
    """Tracker for ClearML."""

    system = "clearml"
    module = "clearml"
    updates = True

    def __init__(self) -> None:
        self._contexts = ContextsOfObjects()

    def current(self) -> Context | None:
        """Return the process's task, else the one set in the environment by its parent process or agent."""
        task = _running()
        if task is not None:
            return self._contexts.of(task, self.of)
        return announced("clearml")

    def watch(self, begins: Callable[..., None], ends: Callable[..., None]) -> None:
        """Call `ends` before a task is closed: afterwards ClearML rejects parameters."""
        kind: Any = getattr(sys.modules["clearml"], "Task", None)

        def end(task: Any, *_: Any, **__: Any) -> None:
            context = self._contexts.of(task, self.of)
            if context is not None:
                ends(context, "finished", before=True)

        before_method(kind, "close", end)
        task = _running()
        if task is not None:
            begins(self._contexts.of(task, self.of))

    def of(self, given: object) -> Context | None:
        """Return the task of a ClearML `Task`."""
        if not type(given).__module__.startswith("clearml."):
            return None
        task: Any = given
        data = getattr(task, "_data", None)  # in memory; `task.name` may send a request
        return found("clearml", "tracker", task.id, name=getattr(data, "name", None)).context

    def note(self, context: Context, use: Use) -> None:
        """Set the parameter and the runtime property.

        Raises:
            ValueError: the task is closed, and ClearML rejects parameters.
        """
        task = _running()
        if task is None or task.id != context.id:
            from clearml import Task

            task = Task.get_task(task_id=context.id)
        section = _SECTIONS[use.role]
        value = f"{use.ref} {content(use)}"
        name = f"{section}/{use.dataset}"
        set_before = (task.get_parameters() or {}).get(name)
        if set_before not in (None, "", value):
            name = f"{section}/{use.ref}" if use.label else f"{section}/{use.dataset}@{content(use)}"
        if set_before != value:
            task.update_parameters({name: value})
        told = json.dumps(facts(use), ensure_ascii=False, sort_keys=True)
        label = use.label or use.tree[:32]
        task._set_runtime_properties({f"dataver.{use.role}.{use.dataset}/{label}": told})


def _running() -> Any:
    """Return the process's main task, or None, without starting one."""
    return getattr(getattr(sys.modules["clearml"], "Task", None), "_Task__main_task", None)


TRACKER: Final = ClearML()
