"""The source of an MLflow dataset that is a version here (entry point `mlflow.dataset_source`).

    run = mlflow.get_run(run_id)
    folder = mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()     # exactly that version

A source names a dataset and the digest of its tree; where the repository is, it does not know, because MLflow
keeps the first source of a content for ever. So `load` takes the repository that `dataver.open()` opens, or
the one it is given; the input's tag `dataver.repository` says where it was. Whichever it is, the bytes are
checked against the digest.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.data.dataset_source import DatasetSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    import dataver

__all__ = ["DataverDatasetSource"]

_SCHEME = "dataver://"


class DataverDatasetSource(DatasetSource):
    """A version of a dataset, by content."""

    def __init__(self, dataset: str, tree: str, repository: str) -> None:
        """Name a version.

        Args:
            dataset: the dataset's name.
            tree: the digest of its tree, 64 hex.
            repository: the id of the repository it came from, 32 hex.

        Raises:
            InvalidInput: one of them cannot be that.
        """
        from dataver.errors import InvalidInput
        from dataver.formats.jsontext import is_hex
        from dataver.formats.names import check_dataset_name

        check_dataset_name(dataset)
        if not is_hex(tree, 64) or not is_hex(repository, 32):
            raise InvalidInput(f"the source of '{dataset}' names no version: its digest or id is not hex.")
        self.dataset = dataset
        self.tree = tree
        self.repository = repository

    @property
    def uri(self) -> str:
        """`dataver://<dataset>@dv1:<64 hex>`."""
        return f"{_SCHEME}{self.dataset}@dv1:{self.tree}"

    @staticmethod
    def _get_source_type() -> str:
        return "dataver"

    def load(
        self,
        dst_path: str | Path | None = None,
        *,
        repo: "str | Path | dataver.Repository | None" = None,
        paths: "str | Iterable[str] | None" = None,
    ) -> str:
        """Fetch the version and return its folder.

        Args:
            dst_path: an own, writable copy goes there; None gives a read-only folder in the cache.
            repo: the repository or its URL; None means what `dataver.open()` opens.
            paths: globs; only what matches is fetched.

        Raises:
            NotFound: that repository does not have it.
        """
        opened = _opened(repo)
        ref = self._ref(opened)
        return str(opened.fetch(ref, dest=dst_path, paths=paths).path)

    def _ref(self, opened: "dataver.Repository") -> str:
        """Return a reference to the youngest version of the dataset with this content."""
        from dataver.errors import NotFound

        labels = opened.records.labels(self.dataset)
        wanted = bytes.fromhex(self.tree)
        found = [
            each
            for each in opened.records.many((self.dataset, label) for label in labels)
            if each.record.tree == wanted
        ]
        if found:
            return max(found, key=lambda each: each.record.created).ref
        try:
            return opened.resolve(f"dv1:{self.tree}").ref  # under another name
        except NotFound as error:
            raise NotFound(
                f"{self.uri} is not in {opened.url}.",
                hint=f"pass load(repo=URL): it came from the repository with the id {self.repository}, "
                "and the input's tag dataver.repository tells its URL",
            ) from error

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        if isinstance(raw_source, str):
            return raw_source.startswith(_SCHEME)
        return type(raw_source).__module__ == "dataver._version" and hasattr(raw_source, "record_id")

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DataverDatasetSource":
        """Return the source of `dataver://<reference>`, or of a `dataver.Version`; a tag is resolved now."""
        if not isinstance(raw_source, str):
            return cls(raw_source.dataset, raw_source.digest.removeprefix("dv1:"), raw_source.repository_id)
        opened = _opened(None)
        reference = raw_source.removeprefix(_SCHEME)
        name, _, selector = reference.partition("@")
        if selector.startswith("dv1:") and len(selector) == len("dv1:") + 64:
            return cls(name, selector.removeprefix("dv1:"), opened.id)
        found = opened.resolve(reference)
        return cls(found.record.dataset, found.record.tree.hex(), opened.id)

    def to_dict(self) -> dict[str, Any]:
        """Return what MLflow keeps."""
        from dataver.lineage.trackers.mlflow import source_of

        return dict(source_of(self.dataset, self.tree, self.repository))

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "DataverDatasetSource":
        """Return the source of what MLflow kept.

        Raises:
            InvalidInput: it is none.
        """
        values = [source_dict.get(name) for name in ("dataset", "tree", "repository")]
        dataset, tree, repository = (value if isinstance(value, str) else "" for value in values)
        return cls(dataset, tree, repository)


def _opened(repo: "str | Path | dataver.Repository | None") -> "dataver.Repository":
    import dataver

    return repo if isinstance(repo, dataver.Repository) else dataver.open(repo)
