"""Changes of a ClearML dataset that is a draft: its files, its description and its metadata."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from dataver.compat.clearml.artifacts import DatasetTask, Logger
from dataver.compat.clearml.contents import DatasetContents
from dataver.compat.clearml.entries import matches
from dataver.compat.clearml.facts import META
from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind
from dataver.tree import diff

__all__ = ["DatasetChanges"]

_ADDED, _REMOVED, _MODIFIED = "files added", "files removed", "files modified"


class DatasetChanges(DatasetContents):
    """The changing methods of `Dataset`."""

    def add_files(
        self,
        path: str | Path,
        wildcard: str | Sequence[str] | None = None,
        local_base_folder: str | None = None,
        dataset_path: str | None = None,
        recursive: bool = True,
        verbose: bool = False,
        max_workers: int | None = None,
    ) -> int:
        """Add a file, or the files of a folder; return how many paths are new.

        Args:
            path: the file or folder.
            wildcard: only files that match it, or one of several.
            local_base_folder: the folder to which paths in the dataset are relative; None means `path`.
            dataset_path: the folder in the dataset.
            recursive: whether folders below are included.
            verbose: has no effect.
            max_workers: has no effect.

        Raises:
            InvalidInput: it does not exist, or the dataset is finalized.
        """
        draft, source = self._of_draft("files of"), Path(path).absolute()
        if not source.exists():
            raise InvalidInput(f"there is no file or folder '{path}'.")
        base = Path(local_base_folder).absolute() if local_base_folder else source
        below = source.relative_to(base if base.is_dir() else base.parent).as_posix()
        target = PurePosixPath((dataset_path or "").strip("/")) / below
        wild = [wildcard] if isinstance(wildcard, str) else wildcard or ()
        found = [each for each in wild if source.is_dir() and next(source.rglob(each), None)]
        jobs: list[tuple[list[Path], PurePosixPath, list[str]]]
        if source.is_file():
            jobs = [([source], target.parent, [])]
        elif recursive:
            jobs = [([source], target, [f"**/{each}" for each in found])] if found or not wild else []
        else:
            files = sorted({each for one in wild or ["*"] for each in source.glob(one) if each.is_file()})
            folders = [(at, list(some)) for at, some in groupby(files, key=lambda each: each.parent)]
            jobs = [(some, target / at.relative_to(source).as_posix(), []) for at, some in folders]
        return self._changed(
            draft.add(*some, dest=_folder(at), include=include, follow_links=True, default_ignore=False)
            for some, at, include in jobs
        )[0]

    def add_external_files(
        self,
        source_url: str | Sequence[str],
        wildcard: str | Sequence[str] | None = None,
        dataset_path: str | Sequence[str] | None = None,
        recursive: bool = True,
        verbose: bool = False,
        max_workers: int | None = None,
        read_hash: bool = False,
    ) -> int:
        """Record files that stay where they are; return how many paths are new.

        Each is read once, so that later changes of it are found.

        Args:
            source_url: a URL or path of a file or folder, or several.
            wildcard: only files that match it, or one of several.
            dataset_path: the folder in the dataset, or one for each URL.
            recursive: whether folders below are included.
            verbose: has no effect.
            max_workers: has no effect.
            read_hash: has no effect: the bytes are hashed.

        Raises:
            InvalidInput: the numbers of folders and URLs differ, or the dataset is finalized.
        """
        urls = [source_url] if isinstance(source_url, str) else list(source_url)
        one = dataset_path is None or isinstance(dataset_path, str)
        folders = [str(dataset_path or "")] * len(urls) if one else list(dataset_path or ())
        if len(folders) != len(urls):
            raise InvalidInput(f"{len(folders)} dataset paths are given for {len(urls)} URLs.")
        wild = [wildcard] if isinstance(wildcard, str) else wildcard or ([] if recursive else ["*"])
        include = [f"**/{each}" if recursive else f"/{each}" for each in wild]
        exclude = [] if recursive else [f"{each}/" for each in include]
        return self._changed(self._externals(urls, folders, include, exclude))[0]

    def _externals(
        self, urls: Sequence[str], folders: Sequence[str], include: Sequence[str], exclude: Sequence[str]
    ) -> Iterator[object]:
        draft = self._of_draft("files of")
        for url, folder in zip(urls, folders, strict=True):
            path, dest = url.removeprefix("file://"), folder.strip("/")
            try:
                yield draft.add_external(path, dest=dest, include=include, exclude=exclude)
            except PathNotFound as error:
                warnings.warn(f"{url} was not added: {error.message}", stacklevel=4)

    def remove_files(
        self, dataset_path: str | None = None, recursive: bool = True, verbose: bool = False
    ) -> int:
        """Remove the files, or external files by their URL, that a wildcard matches; return their number.

        Args:
            dataset_path: the wildcard, a folder, or the URL; None means all files.
            recursive: whether the wildcard matches in all folders below.
            verbose: has no effect.

        Raises:
            InvalidInput: the dataset is finalized.
        """
        draft, wanted = self._of_draft("files of"), dataset_path
        gone = self.list_files(wanted, recursive)
        if wanted and "://" in wanted:
            links = {each.relative_path or "": each.link or "" for each in self.link_entries}
            gone += [path for path, url in links.items() if matches(url, wanted, recursive=recursive)]
        if not gone:
            return 0
        return self._changed(draft.remove(*some) for some in [gone])[1]

    def sync_folder(
        self, local_path: str | Path, dataset_path: str | Path | None = None, verbose: bool = False
    ) -> tuple[int, int, int]:
        """Make the dataset, or a folder of it, a mirror of a folder.

        Args:
            local_path: the folder.
            dataset_path: the folder in the dataset.
            verbose: has no effect.

        Returns:
            How many files were removed, added and modified.

        Raises:
            InvalidInput: it is not a folder, or the dataset is finalized.
        """
        draft = self._of_draft("files of")
        kept = list(draft.tree.iterate(META + "/"))
        dest = _folder(PurePosixPath(Path(dataset_path or "").as_posix().strip("/")))

        def sync() -> Iterator[object]:
            yield draft.sync(local_path, dest, allow_shrink=True, follow_links=True, default_ignore=False)
            draft._core.edit({each.path: each for each in kept})

        added, removed, modified = self._changed(sync())
        return removed, added, modified

    def _changed(self, steps: Iterable[object]) -> tuple[int, int, int]:
        """Make the steps of a change; return how many files it added, removed and modified."""
        core = self._of_draft("files of")._core
        before = bytes.fromhex(core.state.tree)
        for name, reason in (problem for step in steps for problem in getattr(step, "problems", ())):
            warnings.warn(f"{name} was not added: {reason}", stacklevel=3)
        counts = dict.fromkeys((_ADDED, _REMOVED, _MODIFIED), 0)
        for each in diff(before, bytes.fromhex(core.state.tree), core.load_block, extents=False):
            if Kind.DIRECTORY not in (each.old and each.old.kind, each.new and each.new.kind):
                counts[_REMOVED if not each.new else _MODIFIED if each.old else _ADDED] += 1
        self.update_changed_files(counts[_ADDED], counts[_MODIFIED], counts[_REMOVED])
        self._save(dirty=True)
        return counts[_ADDED], counts[_REMOVED], counts[_MODIFIED]

    @property
    def changed_files(self) -> dict[str, int]:
        """How many files were added, removed and modified so far."""
        return {
            name: int(self._note.get("changes", {}).get(name, 0)) for name in (_ADDED, _REMOVED, _MODIFIED)
        }

    def update_changed_files(
        self,
        num_files_added: int | None = None,
        num_files_modified: int | None = None,
        num_files_removed: int | None = None,
    ) -> None:
        """Add to the numbers of `changed_files`."""
        now = self.changed_files
        more = {_ADDED: num_files_added, _REMOVED: num_files_removed, _MODIFIED: num_files_modified}
        self._save(changes={name: now[name] + (count or 0) for name, count in more.items()})

    def set_description(self, description: str) -> None:
        """Describe it; for a draft this becomes the message of the version."""
        if self._version:
            self._version.describe(description)
        else:
            self._save(description=description)

    def set_metadata(self, metadata: Any, metadata_name: str = "metadata", ui_visible: bool = True) -> None:
        """Store JSON values, a NumPy array or a pandas DataFrame in it.

        Raises:
            InvalidInput: it is something else, or the dataset is finalized.
        """
        self._task.upload_artifact(metadata_name, metadata)

    def get_metadata(self, metadata_name: str = "metadata") -> Any:
        """Return what `set_metadata` stored, None if there is nothing."""
        found = self._task.artifacts.get(metadata_name)
        return found.get() if found else None

    def get_logger(self) -> Logger:
        """Return a receiver of texts, which leaves out plots."""
        return Logger()

    @property
    def _task(self) -> DatasetTask:
        return DatasetTask(self)


def _folder(path: PurePosixPath) -> str:
    return "" if str(path) == "." else str(path)
