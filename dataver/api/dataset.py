"""Public summaries of datasets."""

from dataclasses import dataclass
from datetime import datetime

from dataver.api.version import Version

__all__ = ["DatasetSummary"]


@dataclass(frozen=True)
class DatasetSummary:
    """Summary of a dataset.

    Attributes:
        name: the dataset.
        versions: the number of its versions.
        latest: the version that `name@latest` refers to.
    """

    name: str
    versions: int
    latest: Version

    @property
    def created(self) -> datetime:
        """The creation time of the latest version."""
        return self.latest.created
