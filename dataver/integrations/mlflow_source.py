"""Dataset source of MLflow for versions (entry point `mlflow.dataset_source`).

    run = mlflow.get_run(run_id)
    folder = mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()     # exactly that version

A source contains a dataset, the digest of its tree, and the part that was read. It contains no URL of the
repository, because MLflow keeps the first source of a content permanently. So `load` uses the repository that
`dataver.open()` opens, or its argument `repo`; the input's tag `dataver.repository` has the original URL. The
bytes are compared with the digest in any case.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.data.dataset_source import DatasetSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import dataver

# Imports in functions: `import mlflow` imports this module.

__all__ = ["DataverDatasetSource"]

_SCHEME = "dataver://"


class DataverDatasetSource(DatasetSource):
    """A version of a dataset, by content, or a part of it."""

    def __init__(
        self, dataset: str, tree: str, repository: str, subset: "Mapping[str, Any] | None" = None
    ) -> None:
        """Check and store the attributes of a version.

        Args:
            dataset: the dataset's name.
            tree: the digest of its tree, 64 hex.
            repository: the id of the original repository, 32 hex.
            subset: the part that was read, as in an event (`patterns`, `exclude`, `paths` …).

        Raises:
            InvalidInput: one of them is not valid.
        """
        from dataver.errors import IntegrityError, InvalidInput, message_of
        from dataver.formats.canonical_json import is_hex
        from dataver.formats.event import Subset
        from dataver.formats.names import check_dataset_name

        check_dataset_name(dataset)
        if not is_hex(tree, 64) or not is_hex(repository, 32):
            raise InvalidInput(f"the source of '{dataset}' has a digest or id that is not hex.")
        try:
            self.subset = Subset.of(dict(subset or {}))
        except (IntegrityError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"the source of '{dataset}' has an invalid subset: {message_of(error)}."
            ) from error
        self.dataset = dataset
        self.tree = tree
        self.repository = repository

    def __repr__(self) -> str:
        return f"DataverDatasetSource({self.uri!r})"

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
        include: "str | Iterable[str] | None" = None,
        storage_options: "Mapping[str, Any] | None" = None,
    ) -> str:
        """Fetch the version, or the source's part of it, and return the folder.

        Args:
            dst_path: folder of a writable working copy; None returns a read-only folder in the cache.
            repo: the repository or its URL; None means the one that `dataver.open()` opens.
            include: globs that replace the source's part.
            storage_options: as for `dataver.open`, if `repo` is not a repository.

        Raises:
            NotFound: the repository does not have the version.
        """
        opened = _opened(repo, storage_options)
        ref = self._ref(opened)
        if include is not None or not self.subset:
            return str(opened.fetch(ref, dest=dst_path, include=include).path)
        from dataver.lineage.queries.content import parse_listing
        from dataver.lineage.queries.reproduce import selected

        part = selected(self.subset, lambda digest: parse_listing(opened._core.events.attachment(digest)))
        return str(opened.fetch(ref, dest=dst_path, include=part).path)

    def _ref(self, opened: "dataver.Repository") -> str:
        """Return the ref of the newest version of the dataset with this content."""
        from dataver.errors import NotFound

        wanted = bytes.fromhex(self.tree)
        versions = opened._core.records.versions(self.dataset)
        found = [each for each in versions if each.record.tree == wanted]
        if found:
            return max(found, key=lambda each: each.record.created).ref
        try:
            return opened._core.resolve(f"dv1:{self.tree}").ref  # under another name
        except NotFound as error:
            raise NotFound(
                f"{self.uri} is not in {opened.url}.",
                hint=f"pass load(repo=URL): it is from the repository with the id {self.repository}, "
                "whose URL is in the input's tag dataver.repository",
            ) from error

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        if isinstance(raw_source, str):
            return raw_source.startswith(_SCHEME)
        return type(raw_source).__module__ == "dataver.api.version" and hasattr(raw_source, "record_id")

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DataverDatasetSource":
        """Return the source of `dataver://<ref>[/<path>]`, or of a `dataver.Version`.

        A tag is resolved immediately. A path is a file or a folder of the version.
        """
        from dataver.reading.versions import split_path

        if not isinstance(raw_source, str):
            return cls(raw_source.dataset, raw_source.digest.removeprefix("dv1:"), raw_source.repository_id)
        opened = _opened(None)
        reference = raw_source.removeprefix(_SCHEME)
        named, path = split_path(reference)
        name, _, selector = (named or reference).partition("@")
        if selector.startswith("dv1:") and len(selector) == len("dv1:") + 64:
            tree = bytes.fromhex(selector.removeprefix("dv1:"))
        else:
            record = opened._core.resolve(named or reference).record
            name, tree = record.dataset, record.tree
        return cls(name, tree.hex(), opened.id, _part(opened, tree, path if named else ""))

    def to_dict(self) -> dict[str, Any]:
        """Return the values that MLflow stores."""
        from dataver.lineage.trackers.mlflow import source_of

        return source_of(self.dataset, self.tree, self.repository, self.subset)

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "DataverDatasetSource":
        """Return the source of values that MLflow stored.

        Raises:
            InvalidInput: the values are not valid.
        """
        values = [source_dict.get(name) for name in ("dataset", "tree", "repository")]
        dataset, tree, repository = (value if isinstance(value, str) else "" for value in values)
        subset = source_dict.get("subset")
        return cls(dataset, tree, repository, subset if isinstance(subset, dict) else None)


def _part(opened: "dataver.Repository", tree: bytes, path: str) -> "dict[str, Any]":
    """Return the subset of a version for a path in a URL.

    Raises:
        PathNotFound: no entry has that path.
    """
    from dataver.errors import PathNotFound
    from dataver.tree.selection import literal, path_of

    path = path_of(path)
    if not path:
        return {}
    found = opened._core.tree(tree)
    if found.get(path) is not None:
        return {"paths": [path]}
    if found.is_folder(path):
        return {"patterns": [literal(path)]}
    raise PathNotFound(f"there is no '{path}' in the version.", hint="list the paths with `dataver ls`")


def _opened(
    repo: "str | Path | dataver.Repository | None", storage_options: "Mapping[str, Any] | None" = None
) -> "dataver.Repository":
    import dataver

    if isinstance(repo, dataver.Repository):
        return repo
    return dataver.open(repo, storage_options=storage_options)
