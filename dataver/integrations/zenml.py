"""Versions as ZenML artifacts: `import dataver.integrations.zenml` where the steps are defined.

    @step
    def choose() -> Annotated[dataver.Version, "cats"]:
        return dataver.open().version("vision/cats@production")

    @step
    def train(cats: dataver.Version) -> float:
        folder = dataver.fetch(cats.ref)

Steps pass a reference to a version in a repository, never data. The content hash for ZenML's caching is the
digest of the tree: a step runs again only if the content changed, independent of labels and tags.
"""

import json
from typing import TYPE_CHECKING, Any, ClassVar

from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from dataver.api.version import Version
from dataver.errors import IntegrityError, InvalidInput
from dataver.machine.configuration import configured_url

if TYPE_CHECKING:
    import dataver

# Imports in functions: steps are defined where no repository is opened.

__all__ = ["VersionMaterializer"]

_FILE = "version.json"


class VersionMaterializer(BaseMaterializer):
    """Stores a version as a reference, and opens it again."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Version,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def save(self, data: Version) -> None:
        """Write the reference.

        Raises:
            InvalidInput: the version is not uploaded, so other steps cannot open it.
        """
        if not data.uploaded:
            raise InvalidInput(
                f"{data.ref} is not uploaded, so other steps cannot open it.", hint="upload it first"
            )
        values = {
            "dataset": data.dataset,
            "digest": data.digest,
            "label": data.label,
            "record": data.record_id,
            "repository": data.repository_url,
            "repository_id": data.repository_id,
        }
        with self.artifact_store.open(self._path, "w") as file:
            file.write(json.dumps(values, indent=2, sort_keys=True))

    def load(self, data_type: type[Any]) -> Version:  # noqa: ARG002  # ZenML's signature
        """Open the version: in the configured repository if the id matches, else at the saved URL.

        Raises:
            NotFound: the version was deleted.
            IntegrityError: the version of that name has another content.
        """
        with self.artifact_store.open(self._path, "r") as file:
            values = json.load(file)
        ref = f"{values['dataset']}@{values['label']}"
        version = _repository(values["repository_id"], values["repository"]).version(ref)
        if version.digest != values["digest"]:
            raise IntegrityError(
                f"{ref} in {version.repository_url} has the digest {version.digest}, not {values['digest']}."
            )
        return version

    def extract_metadata(self, data: Version) -> dict[str, Any]:
        """Return the metadata that ZenML displays with the artifact."""
        shown = {
            "dataset": data.dataset,
            "version": data.label,
            "digest": data.digest,
            "record": data.record_id,
            "repository": data.repository_url,
            "files": data.file_count,
            "size": data.size,
            "message": data.message,
        }
        return {name: value for name, value in shown.items() if value not in (None, "")}

    def compute_content_hash(self, data: Version) -> str:
        """Return the digest of the tree, 64 hex."""
        return data.digest.removeprefix("dv1:")

    @property
    def _path(self) -> str:
        return f"{self.uri.rstrip('/')}/{_FILE}"


def _repository(identity: str, url: str) -> "dataver.Repository":
    """Return the repository of that id: the configured one, with its options, else the one at `url`."""
    import dataver

    if configured_url() is not None:
        configured = dataver.open()
        if configured.id == identity:
            return configured
    return dataver.open(url)
