"""Datasets of the Hugging Face Hub: from the cache of its client on this machine, or from the Hub itself.

A cache has a folder for each dataset of which something was downloaded:

    datasets--org--name/refs/main             the commit of a branch or tag, as text
    datasets--org--name/snapshots/<commit>/…  links to blobs, with the paths of the files
    datasets--org--name/blobs/<etag>          their bytes
    datasets--org--name/trees/<commit>.json   the files of the commit, complete (clients of 2026)

An etag is the SHA-256 of a large file, and the SHA-1 of git's blob for others, so both can be verified. Where
the tree is there, files that were not downloaded are reported as missing. A cache does not have the order of
commits: that of `main` counts as the last, and the others are ordered by the times of their download.

`.gitattributes` is a file like others, but a change of it alone makes no version. Branches of pull requests
and conversions (`refs/…`) are left out. The YAML at the start of README.md becomes metadata.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, Final, cast

from dataver.errors import InvalidInput, StoreError
from dataver.extras import require_extra
from dataver.formats.names import parse_semver
from dataver.hashing.digest import digest
from dataver.importers.asking import ask
from dataver.importers.names import dataset_name
from dataver.importers.source import Checksum, Source, SourceFile, SourceVersion
from dataver.importers.unchanged import in_line, join_unchanged

# Imports in functions: the packages are optional.

__all__ = ["HubCache", "HubRepo", "front_matter", "hub_source"]

_REPO: Final = re.compile(r"(?:hf://|https?://[^/]+/)?(?:datasets/)?([\w.-]+/[\w.-]+)/?", re.ASCII)
_ALGORITHMS: Final = {40: "git-sha1", 64: "sha256"}  # by the digits of a checksum
_HEX: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)\n---[ \t]*(?:\r?\n|$)", re.DOTALL)
_KEPT: Final = {
    "license", "language", "pretty_name", "tags", "task_categories", "size_categories", "configs",
    "dataset_info",
}  # fmt: skip
_MAX_README: Final = 1 << 20
_MAX_TREE: Final = 256 << 20  # of a million files


def hub_source(place: str, name: str | None = None) -> "HubCache | HubRepo":
    """Return the source for a folder of a cache, or for the name or the address of a dataset on the Hub.

    Args:
        place: the folder, the name or the address.
        name: the dataset that receives the versions; None names it after the one on the Hub.

    Raises:
        InvalidInput: it is neither, or a package is not installed.
    """
    folder, repo = Path(place).expanduser(), _REPO.fullmatch(place)
    if (folder / "snapshots").is_dir() or any(folder.glob("datasets--*/snapshots")):
        return HubCache(str(folder), "yaml", name)
    if repo is None or folder.is_dir():
        raise InvalidInput(
            f"{place} is neither a folder of a Hugging Face cache nor the name of a dataset on the Hub.",
            hint="give org/name, or a folder such as ~/.cache/huggingface/hub/datasets--org--name",
        )
    return HubRepo(repo[1], name)


class _Hub(Source):
    """The common part of both sources: which commits are versions, and their metadata."""

    kind = "hf"

    def __init__(self, location: str, extra: str, name: str | None = None) -> None:
        require_extra(extra, "an import from Hugging Face")
        super().__init__(location)
        self._name = name

    def _history(self, commits: Iterable[SourceVersion], refs: Mapping[str, str]) -> Iterator[SourceVersion]:
        """Yield the commits whose files differ from those of their parents."""
        for version in join_unchanged(self._states(commits, refs), _mark(())):
            yield replace(version, metadata=self._card(version))

    def _states(self, commits: Iterable[SourceVersion], refs: Mapping[str, str]) -> Iterator[SourceVersion]:
        for commit in commits:
            names = [ref for ref, key in refs.items() if ref != "main" and key == commit.key]
            labels = filter(parse_semver, (ref.removeprefix("v") for ref in names))
            data = None
            try:
                data = _mark(commit.files())
            except StoreError as error:
                if error.transient:
                    raise
                self.problems.append((f"{commit.dataset}, commit {commit.key[:12]}", error.message))
            yield replace(commit, label=next(labels, None), tags=tuple(names), data=data)

    def _card(self, version: SourceVersion) -> dict[str, Any]:
        for each in version.files():
            if each.path == "README.md" and not each.missing:
                try:
                    with each.read() if each.read else Path(str(each.url)).open("rb") as file:
                        return front_matter(file.read(_MAX_README).decode("utf-8", "replace"))
                except (OSError, ValueError) as error:
                    self.problems.append((f"{version.dataset}, README.md of {version.key[:12]}", str(error)))
        return {}


class HubCache(_Hub):
    """Datasets in a cache of the Hub's client: the folder of one, or that of all. Works offline."""

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions of each dataset; see `Source`."""
        root = Path(self.location)
        for folder in [root] if (root / "snapshots").is_dir() else sorted(root.glob("datasets--*")):
            refs = {
                os.path.relpath(path, folder / "refs"): _start(path, 64).decode("ascii", "replace").strip()
                for path in _walk(folder / "refs")
            }
            shown = {ref: key for ref, key in refs.items() if not ref.startswith("refs/")}
            hidden = set(refs.values()) - set(shown.values())
            found = [each for each in (folder / "snapshots").iterdir() if each.name not in hidden]
            found.sort(key=lambda each: (each.name == refs.get("main"), each.stat().st_mtime_ns, each.name))
            name = dataset_name(self._name or folder.name.removeprefix("datasets--").replace("--", "/"))
            keys = [each.name for each in found if _HEX.fullmatch(each.name)]
            commits = (
                SourceVersion(key=key, dataset=name, files=partial(_cached, folder, key)) for key in keys
            )
            yield from self._history(in_line(commits), shown)


def _cached(folder: Path, commit: str) -> list[SourceFile]:
    """Return the files of a snapshot; a link leads to a blob of the same dataset only."""
    root, tree, found = folder / "snapshots" / commit, _tree(folder / "trees" / f"{commit}.json"), []
    for full in _walk(root):
        path = os.path.relpath(full, root)
        blob = folder / "blobs" / full.readlink().name if full.is_symlink() else full
        known = blob != full and _HEX.fullmatch(blob.name)
        check = Checksum(_ALGORITHMS[len(blob.name)], blob.name) if known else None
        size, check = tree.pop(path, (None, check))
        content = ":".join(check) if check else f"{commit}/{path}"
        if not check and not blob.resolve().is_relative_to(folder.resolve()):  # no checksum would find that
            found.append(SourceFile(path, content, missing="it is a link that leaves the cache"))
        elif blob.is_file():
            found.append(SourceFile(path, content, blob.stat().st_size, url=str(blob), check=check))
        else:
            why = f"its blob {blob.name} is not in the cache"
            found.append(SourceFile(path, content, size, check=check, missing=why))
    why = "it was not downloaded"
    return found + [
        SourceFile(path, ":".join(c), size, check=c, missing=why) for path, (size, c) in tree.items()
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files and links in a folder."""
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield from _walk(path) if path.is_dir() and not path.is_symlink() else [path]
    except (OSError, RecursionError) as error:
        raise StoreError(f"{folder} cannot be read: {error}.") from error


def _tree(path: Path) -> dict[str, tuple[int, Checksum]]:
    """Return size and checksum of the files of a commit; none if its tree is not there, or damaged."""
    found = {}
    try:
        for name, each in json.loads(_start(path, _MAX_TREE))["files"].items():
            value = each.get("lfs_sha256") or each["blob_id"]
            found[name] = int(each["size"]), Checksum(_ALGORITHMS[len(value)], value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # the client, too, ignores one that it cannot use
    return found


def _start(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)


class HubRepo(_Hub):
    """A dataset on the Hub, or on the server that `HF_ENDPOINT` names; with the token of its client."""

    def __init__(self, repo: str, name: str | None = None) -> None:
        super().__init__(f"hf://datasets/{repo}", "import-hf", name)
        from huggingface_hub import HfApi, HfFileSystem

        self._repo, self._api = repo, HfApi()
        self._about = {"repo_id": repo, "repo_type": "dataset"}
        self._system = HfFileSystem(endpoint=self._api.endpoint)

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions; see `Source`."""
        found = self._ask(partial(self._api.list_repo_refs, **self._about))
        branches = sorted(found.branches, key=lambda each: (each.name != "main", each.name))
        refs = {each.name: each.target_commit for each in (*found.tags, *branches)}
        return self._history(self._commits(each.name for each in branches), refs)

    def _commits(self, branches: Iterable[str]) -> Iterator[SourceVersion]:
        """Yield the commits of all branches, each once and the oldest first."""
        seen = set[str]()
        for branch in branches:
            parents: tuple[str, ...] = ()
            commits = self._ask(partial(self._api.list_repo_commits, **self._about, revision=branch))
            for each in reversed(commits):
                if each.commit_id not in seen:
                    yield SourceVersion(
                        key=each.commit_id,
                        dataset=dataset_name(self._name or self._repo),
                        files=partial(self._files, each.commit_id),
                        parents=parents,
                        message=f"{each.title}\n\n{each.message}".strip(),
                        author=", ".join(each.authors),
                        created=each.created_at,
                    )
                seen.add(each.commit_id)
                parents = (each.commit_id,)

    def _files(self, commit: str) -> Iterator[SourceFile]:
        listing = partial(self._api.list_repo_tree, **self._about, recursive=True, revision=commit)
        for each in self._ask(lambda: list(listing())):
            if hasattr(each, "blob_id"):  # else it is a folder
                value = each.lfs.sha256 if each.lfs else each.blob_id
                check = Checksum(_ALGORITHMS[len(value)], value)
                read = partial(self._open, f"datasets/{self._repo}@{commit}/{each.path}")
                yield SourceFile(each.path, ":".join(check), each.size, read=read, check=check)

    def _open(self, path: str) -> IO[bytes]:
        # a stream, without a copy on disk
        file = self._ask(partial(self._system.open, path, "rb", block_size=0))
        return cast("IO[bytes]", _Stream(lambda size: self._ask(partial(file.read, size))))

    def _ask(self, question: Callable[[], Any]) -> Any:
        hint = "`hf auth login` or HF_TOKEN gives access to private and gated datasets"
        return ask(question, f"{self.location} on {self._api.endpoint}", hint)


class _Stream(RawIOBase):
    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _mark(files: Iterable[SourceFile]) -> bytes:
    """Return a digest that is equal for equal data."""
    data = sorted((each.path, each.content) for each in files if each.path != ".gitattributes")
    return digest(json.dumps(data).encode())


def front_matter(text: str) -> dict[str, Any]:
    """Return the values that dataver keeps of the YAML at the start of a README.

    Raises:
        ValueError: it is not valid.
    """
    import yaml

    found = _FRONT.match(text)
    front = found[1] if found else ""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # that in Python takes a minute for some damage
    try:
        if any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(front, loader)):
            raise ValueError("its YAML has aliases")  # of which few lines make gigabytes
        values = yaml.load(front, loader)  # noqa: S506  # both loaders are safe
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"its YAML is not valid: {' '.join(str(error).split())[:200]}") from error
    kept = {name: values[name] for name in _KEPT & set(values)} if isinstance(values, dict) else {}
    return dict(json.loads(json.dumps(kept, default=str, sort_keys=True)))
