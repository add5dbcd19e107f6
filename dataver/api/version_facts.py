"""Facts of a version that its record contains: all are known without reading the repository."""

from datetime import datetime
from typing import TYPE_CHECKING

from dataver.errors import InvalidInput
from dataver.formats.record import ParentRef, Record
from dataver.repository import Published

if TYPE_CHECKING:
    from dataver.repository import RepositoryCore

__all__ = ["VersionFacts"]


class VersionFacts:
    """Name, origin, digest and totals of a version."""

    _repository: "RepositoryCore"
    _record: Record
    _record_id: str | None

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self._record.dataset

    @property
    def label(self) -> str | None:
        """Its label, such as `1.0.0`; None while it is local and `upload` will choose the label."""
        return self._record.label or None

    @property
    def ref(self) -> str:
        """`dataset@label`; for a local version without a label, `dataset@(not uploaded)`."""
        return f"{self.dataset}@{self.label or '(not uploaded)'}"

    @property
    def digest(self) -> str:
        """The content's digest, `dv1:` and 64 hex characters: equal for equal content everywhere."""
        return f"dv1:{self._record.tree.hex()}"

    @property
    def record_id(self) -> str | None:
        """The digest of the record, 64 hex characters; None until it is published."""
        return self._record_id

    @property
    def repository_id(self) -> str:
        """The id of its repository, 32 hex characters."""
        return self._repository.id

    @property
    def repository_url(self) -> str:
        """The URL of its repository, without secrets."""
        return self._repository.url

    @property
    def uploaded(self) -> bool:
        """Whether it is published."""
        return self._record_id is not None

    @property
    def parents(self) -> list[ParentRef]:
        """The versions it was made from."""
        return list(self._record.parents)

    @property
    def line(self) -> str | None:
        """The fork it belongs to, named by the label of its first version; None on the main line."""
        return self._record.line or None

    @property
    def created(self) -> datetime:
        """The time of `finalize` (aware, UTC); always later than that of the version before it."""
        return self._record.created

    @property
    def author(self) -> str:
        """The author who finalized it."""
        return self._record.author

    @property
    def message(self) -> str:
        """Its message."""
        return self._record.message

    @property
    def file_count(self) -> int:
        """The number of its files."""
        return self._record.files

    @property
    def size(self) -> int:
        """The total size of its files in bytes."""
        return self._record.size

    def _published(self) -> "Published":
        """Return its record and the record's id.

        Raises:
            InvalidInput: it is not uploaded.
        """
        if self._record_id is None:
            raise InvalidInput(f"{self.ref} is not uploaded yet.", hint="upload it first")
        return Published(self._record, self._record_id)
