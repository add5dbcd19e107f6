"""Artifacts of Weights & Biases: from its server, or offline from its runs and its cache on this machine.

    wandb/offline-run-*/run-<id>.wandb      a log of records, some of which are artifacts with manifests
    <cache>/artifacts/obj/md5/<2>/<30>      files by checksum, in hex; or `xxh128` for `md5`
    wandb_manifest.json                     the files of one version, as the server has them

Files that a run logged stay in a staging folder until they are sent. The digest of a file is the MD5 in
Base64, or the XXH128 where the entry states it. That of a reference is an ETag or the URL itself, and not a
checksum of the bytes.

Files from the server pass through the cache, as with W&B's own client: `wandb artifact cache cleanup` deletes
them. Version N has the label N.0.0. Aliases become tags, but for vN and `latest`, which is no tag in dataver.
"""

import json
import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final
from urllib.parse import unquote

import platformdirs

from dataver.errors import InvalidInput, StoreError
from dataver.extras import require_extra
from dataver.hashing.digest import digest
from dataver.importers.asking import ask
from dataver.importers.names import dataset_name
from dataver.importers.source import Checksum, Source, SourceFile, SourceRun, SourceVersion
from dataver.importers.unchanged import in_line, join_unchanged
from dataver.importers.wandb_log import entries_of, records

# Imports in functions: the package is optional.

__all__ = ["WandbOffline", "WandbProject", "wandb_source"]

_PROJECT: Final = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?", re.ASCII)
_ALGORITHMS: Final = {"MD5": "md5", "XXH128": "xxh128"}
_NAME: Final = re.compile(r"(.*?)(?:[-_.:]v(\d+))?", re.DOTALL)  # of the file of a manifest: cats-v3
_PART: Final = "it is incremental or written by several runs, so that only the server has all of its files"
_NO_TAG: Final = re.compile(r"latest|v\d+")
_MAX_MANIFEST: Final = 1 << 30
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)

_Entries = dict[str, dict[str, Any]]


def wandb_source(
    places: Sequence[str], kind: str = "dataset", name: str | None = None
) -> "WandbOffline | WandbProject":
    """Return the source for a project on the server, or for runs and manifests on this machine.

    Args:
        places: `entity/project` or `entity/project/artifact`; or folders of runs and manifests, the oldest
            first.
        kind: the type of the artifacts.
        name: the dataset that receives the versions, of one artifact; None names it after the artifact.

    Raises:
        InvalidInput: a place is none of these, or the package is not installed.
    """
    paths, project = [Path(each).expanduser() for each in places], _PROJECT.fullmatch(places[0])
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return WandbOffline(paths, kind, name)
    if project is None or len(places) > 1:
        raise InvalidInput(
            f"{missing[0]} does not exist, and is no project of Weights & Biases.",
            hint="give entity/project, a folder with offline runs, or a wandb_manifest.json",
        )
    return WandbProject(project[1], project[2], kind, name)


class WandbOffline(Source):
    """Artifacts of runs that were not sent, and of manifests, with the files on this machine."""

    kind = "wandb"

    def __init__(
        self,
        paths: Sequence[Path],
        kind: str = "dataset",
        name: str | None = None,
        cache: Path | None = None,
    ) -> None:
        if any(each.is_dir() or each.suffix == ".wandb" for each in paths):
            require_extra("wandb", "reading the runs of Weights & Biases")
        super().__init__(", ".join(map(str, paths)))
        self._paths, self._kind, self._name = paths, kind, name
        cache = cache or Path(os.environ.get("WANDB_CACHE_DIR") or platformdirs.user_cache_dir("wandb"))
        self._objects = cache / "artifacts" / "obj"
        self._types: set[str] = set()  # of all artifacts

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions; see `Source`."""
        return join_unchanged(in_line(self._states()), "")

    def _states(self) -> Iterator[SourceVersion]:
        for path in self._paths:
            logs = [*path.glob("run-*.wandb"), *path.glob("*run-*/run-*.wandb")] if path.is_dir() else [path]
            for log in sorted(logs, key=_began):
                try:
                    yield from self._logged(log) if log.suffix == ".wandb" else self._listed(log)
                except _DAMAGE as error:
                    self.problems.append((str(log), f"it is damaged: {error}"))
        if self._kind not in self._types and not self.problems:
            there = ", ".join(sorted(self._types))
            raise InvalidInput(
                f"{self.location} has no artifact of the type '{self._kind}'.",
                hint=f"--type selects one of: {there}" if there else "name a folder with offline runs",
            )

    def _listed(self, path: Path) -> Iterator[SourceVersion]:
        self._types.add(self._kind)
        mark, (name, number) = _mark(_manifest(path)), _NAME.fullmatch(path.stem).groups()  # type: ignore[union-attr]
        yield SourceVersion(
            key=f"{path.stem}:{mark.hex()[:32]}",
            dataset=dataset_name(self._name or name),
            files=partial(self._files, path, partial(_manifest, path)),
            label=f"{number}.0.0" if number else None,
            data=mark,
        )

    def _logged(self, path: Path) -> Iterator[SourceVersion]:
        runs, created = tuple[SourceRun, ...](), None
        for number, record in enumerate(records(path)):
            if record.HasField("run"):
                run = record.run
                key = "/".join(filter(None, (run.entity, run.project, run.run_id)))
                runs, created = (SourceRun(f"wandb:{key}", run.display_name),), run.start_time.ToDatetime(UTC)
            if not record.HasField("artifact"):
                continue
            found = record.artifact
            self._types.add(found.type)
            if found.type != self._kind:
                continue
            if found.incremental_beta1 or found.distributed_id:
                self.problems.append((f"{found.name} in {path}", _PART))
                continue
            yield SourceVersion(
                key=f"{found.name}:{found.run_id}:{number}",
                dataset=dataset_name(self._name or found.name),
                files=partial(self._files, path, partial(_entries, path, number)),
                message=found.description,
                created=created,
                tags=_tags(found.aliases),
                metadata=_facts(json.loads(found.metadata or "{}"), found.tags),
                produced_by=runs,
                data=found.digest,
            )

    def _files(self, place: Path, entries: Callable[[], _Entries]) -> list[SourceFile]:
        try:
            return [_file(path, entry, self._objects) for path, entry in entries().items()]
        except _DAMAGE as error:
            raise StoreError(f"{place} is damaged: {error}.") from error


class WandbProject(Source):
    """Artifacts of a project on a server of W&B, with the key and the address that its package uses."""

    kind = "wandb"

    def __init__(self, project: str, artifact: str | None, kind: str, name: str | None = None) -> None:
        require_extra("wandb", "an import from Weights & Biases")
        self._project, self._artifact, self._kind, self._name = project, artifact, kind, name
        super().__init__(f"wandb:{project}" + (f"/{artifact}" if artifact else ""))

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions; see `Source`."""
        return join_unchanged(in_line(self._ask(lambda: list(self._states()))), "")

    def _states(self) -> Iterator[SourceVersion]:
        import wandb

        for collection in wandb.Api().artifact_type(self._kind, self._project).collections():
            if self._artifact in (None, collection.name):
                found = [each for each in collection.artifacts() if each.state == "COMMITTED"]
                for each in sorted(found, key=lambda each: int(each.version[1:])):
                    yield self._version(each, collection.name)

    def _version(self, artifact: Any, name: str) -> SourceVersion:
        created, made = datetime.fromisoformat(artifact.created_at), artifact.logged_by()
        return SourceVersion(
            key=f"{self._project}/{name}:{artifact.version}",
            dataset=dataset_name(self._name or name),
            files=partial(self._files, artifact),
            message=artifact.description or "",
            created=created if created.tzinfo else created.replace(tzinfo=UTC),
            label=f"{artifact.version[1:]}.0.0",
            tags=_tags(artifact.aliases),
            metadata=_facts(artifact.metadata, artifact.tags),
            produced_by=_runs([made] if made else []),
            used_by=_runs(artifact.used_by()),
            data=artifact.digest,
        )

    def _files(self, artifact: Any) -> list[SourceFile]:
        entries = self._ask(lambda: artifact.manifest.entries)
        return [
            _file(path, entry.to_json(), None, partial(self._ask, partial(_download, artifact, entry)))
            for path, entry in entries.items()
        ]

    def _ask(self, question: Callable[[], Any]) -> Any:
        hint = "`wandb login` or WANDB_API_KEY gives access; WANDB_BASE_URL is the address of the server"
        return ask(question, self.location, hint)


def _file(
    path: str, entry: dict[str, Any], objects: Path | None, read: Callable[[], IO[bytes]] | None = None
) -> SourceFile:
    """Return a file of a manifest."""
    extra, ref, size = entry.get("extra") or {}, entry.get("ref") or "", entry.get("size")
    check = _checksum(entry["digest"], _ALGORITHMS.get(extra.get("alg", "MD5")))
    content = ":".join(check) if check else f"{ref} {entry['digest']}"
    local = entry.get("local_path")
    if ref.startswith("file://"):
        local = unquote(ref.removeprefix("file://"))
    elif ref and not ref.startswith("wandb-artifact:"):  # that is a file of another artifact
        pinned = extra.get("versionID") or None
        content = f"{ref} {pinned or entry['digest']}"
        return SourceFile(path, content, size or None, url=ref, object_version=pinned, external=True)
    elif check and objects and not local:
        local = str(objects / check.algorithm / check.value[:2] / check.value[2:])
    if local and Path(local).is_file():
        return SourceFile(path, content, size, url=local, check=check, external=bool(ref))
    why = None if read else f"W&B has no copy of it on this machine ({local or ref})"
    return SourceFile(path, content, size, read=read, check=check, missing=why)


def _checksum(text: str, algorithm: str | None) -> Checksum | None:
    value = ""
    with suppress(ValueError):
        value = b64decode(text, validate=True).hex()
    return Checksum(algorithm, value) if algorithm and len(value) == 32 else None


def _manifest(path: Path) -> _Entries:
    with path.open("rb") as file:
        entries: _Entries = json.loads(file.read(_MAX_MANIFEST))["contents"]
    # only a log of this machine may name local files
    return {name: {**entry, "local_path": None} for name, entry in entries.items() if entry["digest"]}


def _entries(path: Path, number: int) -> _Entries:
    return next(entries_of(each.artifact) for at, each in enumerate(records(path)) if at == number)


def _began(log: Path) -> tuple[str, int]:
    """Return the second at which a run began, by the name of its folder, and the time of its log's end."""
    return log.parent.name.removeprefix("offline-").rpartition("-")[0], log.stat().st_mtime_ns


def _mark(entries: _Entries) -> bytes:
    return digest(repr(sorted((name, entry["digest"]) for name, entry in entries.items())).encode())


def _tags(aliases: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in aliases if not _NO_TAG.fullmatch(each))


def _facts(metadata: dict[str, Any], tags: Iterable[str]) -> dict[str, Any]:
    return {**metadata, **({"tags": list(tags)} if tags else {})}


def _runs(runs: Iterable[Any]) -> tuple[SourceRun, ...]:
    return tuple(
        SourceRun(f"wandb:{each.entity}/{each.project}/{each.id}", each.name, each.url) for each in runs
    )


def _download(artifact: Any, entry: Any) -> IO[bytes]:
    """Open a file of the server, by way of W&B's cache."""
    if not entry.ref:  # `download` would keep a checksum for each target, and is not safe in threads
        return Path(artifact.manifest.storage_policy.load_file(artifact, entry)).open("rb")
    with TemporaryDirectory() as folder:  # an open file needs no name
        return Path(artifact.get_entry(entry.path).download(folder)).open("rb")
