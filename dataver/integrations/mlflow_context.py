"""MLflow asks this when a run starts (entry point `mlflow.run_context_provider`).

- The run gets the tag `dataver.run` where the user has named a run of dataver's around it: so it is found
  from MLflow's side.
- What was fetched before MLflow's runs waits to be linked to them. MLflow asks just before it makes the next
  run, so now is the time to link the one before. The recorder itself finds the last.

`import mlflow` imports this module: it must be quick and never fail, so it imports nothing of dataver. A
process that has noted nothing pays nothing.
"""

import sys

from mlflow.tracking.context.abstract_context import RunContextProvider

__all__ = ["DataverRunContext"]


class DataverRunContext(RunContextProvider):
    """Tags for a run that starts, and a nudge for the recorder."""

    def in_context(self) -> bool:
        """Return whether this process has noted anything or named a run."""
        return "dataver.lineage.which_run" in sys.modules

    def tags(self) -> dict[str, str]:
        """Return the tags; whatever fails here gives none."""
        try:
            recorder = sys.modules.get("dataver.lineage.recorder")
            if recorder is not None:
                recorder.look_again()
            which = sys.modules["dataver.lineage.which_run"]
            key = which.CURRENT.get() or which.named_by_environment()
        except Exception:  # noqa: BLE001  # a run must start, whatever lineage does
            return {}
        return {"dataver.run": key} if key else {}
