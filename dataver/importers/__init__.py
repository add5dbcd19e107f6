"""History of other tools as versions: ClearML, DVC, git-lfs, W&B, Hugging Face, folders, buckets."""

from dataver.importers.importing import ImportReport, import_versions
from dataver.importers.planning import ImportPlan, plan_import

__all__ = ["ImportPlan", "ImportReport", "import_versions", "plan_import"]
