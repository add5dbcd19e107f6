"""Context provider that MLflow calls when a run starts (entry point `mlflow.run_context_provider`).

- The first call installs the hooks of the recorder: child processes belong to this process's active run, even
  if this process does not use dataver itself, and their events are sent at its exit.
- The run gets the tag `dataver.run` if the user has named a run of dataver around it.
"""

from mlflow.tracking.context.abstract_context import RunContextProvider

# Imports in functions: `import mlflow` imports this module, which must be fast and never fail.

__all__ = ["DataverRunContext"]


class DataverRunContext(RunContextProvider):
    """Installs the hooks, and returns tags for a new run."""

    def in_context(self) -> bool:
        """Install the hooks; return whether the user has named a run."""
        try:
            from dataver.lineage.attribution.owner import named_here
            from dataver.lineage.record.recorder import hooks

            hooks()
            return named_here() is not None
        except Exception:  # noqa: BLE001  # a failure of lineage must not prevent the run
            return False

    def tags(self) -> dict[str, str]:
        """Return the tags; none after any failure."""
        try:
            from dataver.lineage.attribution.owner import named_here

            key = named_here()
        except Exception:  # noqa: BLE001
            return {}
        return {"dataver.run": key} if key else {}
