"""ClearML: a version is a parameter of the task, in the section `Datasets`, as ClearML's own datasets are.

- `Datasets/<name>` holds `<name>@<label> dv1:<64 hex>`; a second version of a dataset in one task is called
  `Datasets/<name>@<label>`. Outputs stand in `Output datasets`.
- The task's runtime property `dataver.<role>.<name>/<label>` has the details as JSON. ClearML's own property
  `datasets` is left alone: it lists ids of ClearML's tasks, and ours are none.
- `Task.current_task()` may start a task in a child process, so the running one is looked at where ClearML
  keeps it. In offline mode the same calls write to the session's folder.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.found import found
from dataver.lineage.trackers.announced import announced
from dataver.lineage.trackers.wording import content, facts

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["TRACKER", "ClearML"]

_SECTIONS: Final = {"input": "Datasets", "output": "Output datasets"}


class ClearML:
    """ClearML."""

    system = "clearml"
    module = "clearml"

    def current(self) -> Context | None:
        """Return the process's task, else the one that its parent process or its agent announces."""
        task = _running()
        if task is not None:
            return self.of(task)
        return announced("clearml")

    def of(self, given: object) -> Context | None:
        """Return the task of a ClearML `Task`."""
        if not type(given).__module__.startswith("clearml."):
            return None
        task: Any = given
        data = getattr(task, "_data", None)  # what is in memory; `task.name` may ask the server
        return found("clearml", "tracker", task.id, name=getattr(data, "name", None)).context

    def note(self, context: Context, use: Use) -> None:
        """Set the parameter and the runtime property.

        Raises:
            ValueError: the task is closed; ClearML takes no parameter any more.
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
    """Return the process's main task, or None; starts none."""
    return getattr(getattr(sys.modules["clearml"], "Task", None), "_Task__main_task", None)


TRACKER: Final = ClearML()
