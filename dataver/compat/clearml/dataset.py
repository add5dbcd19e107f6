"""`Dataset` with the signatures of `clearml.Dataset` (2.1), over drafts and versions.

The idea: `create` starts a draft, the methods that change files edit it, and `finalize` publishes it. Files
are stored by `add_files` at once, so `upload` only confirms them. Arguments about servers, zip files and
threads are accepted and have no effect.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

from dataver.compat.clearml.artifacts import DatasetTask, Logger, current_task
from dataver.compat.clearml.contents import DatasetContents
from dataver.compat.clearml.entries import matches
from dataver.compat.clearml.facts import META, NOTE, label_of, repository
from dataver.errors import Conflict, DataverError, InvalidInput, NotFound, PathNotFound
from dataver.formats.entry import Kind
from dataver.formats.names import next_label
from dataver.importers.names import dataset_name
from dataver.tree import diff

# Imports in functions: offline sessions are rarely imported.

__all__ = ["Dataset"]

_log = logging.getLogger("dataver.compat.clearml")
_TRIES = 8  # others may take the next version first
_ADDED, _REMOVED, _MODIFIED = "files added", "files removed", "files modified"


class Dataset(DatasetContents):
    """A version of a dataset, or a draft of one. Use `create` or `get`."""

    _offline: ClassVar[bool] = False

    # making and finding

    @classmethod
    def create(
        cls,
        dataset_name: str | None = None,
        dataset_project: str | None = None,
        dataset_tags: Sequence[str] | None = None,
        parent_datasets: "Sequence[str | Dataset] | None" = None,
        use_current_task: bool = False,
        dataset_version: str | None = None,
        output_uri: str | None = None,
        description: str | None = None,
    ) -> Self:
        """Start a draft in the current folder.

        Args:
            dataset_name: the name; None means that of the current task.
            dataset_project: the project; None means that of the current task, or of the last parent.
            dataset_tags: tags.
            parent_datasets: ids or datasets to start from; a later one overrides an earlier one.
            use_current_task: take name and project from the current task.
            dataset_version: the version; None means the next one.
            output_uri: has no effect: data goes to the repository.
            description: what it is.

        Raises:
            InvalidInput: there is no name or project, a parent does not exist or is not finalized, or the
                version exists.
        """
        parents = [each if isinstance(each, Dataset) else cls.get(each) for each in parent_datasets or ()]
        versions = [each._final("start from") for each in parents]
        project, name = _place(cls, parents, dataset_project, dataset_name, use_current_task)
        repo = repository()
        target = _target(project, name)
        known = repo._core.records.names(target)
        taken = {*known.labels, *known.deleted}
        given = str(dataset_version).strip() if dataset_version else None
        if given and label_of(given) in taken:
            raise InvalidInput(
                f"{target} has, or had, a version '{given}'.",
                hint="versions are never replaced: give a new one",
            )
        draft = repo.create(target, parents=versions, stream=repo._core.store.local_root is None)
        if draft.tree.is_folder(META):
            draft.remove(META)
        made = cls(repo, draft=draft)
        made._save(
            id=os.urandom(16).hex(),
            project=project,
            name=name,
            tags=list(dataset_tags or ()),
            description=description or "",
            **({"version": given} if given else {"next": next_label(taken)}),
        )
        return made

    @classmethod
    def get(
        cls,
        dataset_id: str | None = None,
        dataset_project: str | None = None,
        dataset_name: str | None = None,
        dataset_tags: Sequence[str] | None = None,
        only_completed: bool = False,
        only_published: bool = False,
        include_archived: bool = False,
        auto_create: bool = False,
        writable_copy: bool = False,
        dataset_version: str | None = None,
        alias: str | None = None,
        overridable: bool = False,
        shallow_search: bool = False,
        silence_alias_warnings: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Return a dataset: the highest of the versions that match, or a draft if there is no version.

        Args:
            dataset_id: its id, also that of a draft, of an imported ClearML task, or `name@label`.
            dataset_project: its project.
            dataset_name: its name.
            dataset_tags: tags, of which it has at least one.
            only_completed: no drafts.
            only_published: only versions that `publish` was called for.
            include_archived: has no effect.
            auto_create: create it if there is none.
            writable_copy: return a new draft with the dataset as its parent.
            dataset_version: its version.
            alias: name of the parameter `Datasets/<alias>` of the current task that gets the id.
            overridable: use the id in that parameter if the task runs on an agent.
            shallow_search: has no effect.
            silence_alias_warnings: has no effect.
            kwargs: only names that start with `_`.

        Raises:
            InvalidInput: there is none, or arguments exclude each other.
        """
        if unknown := [each for each in kwargs if not each.startswith("_")]:
            raise InvalidInput(f"Dataset.get has no arguments {unknown}.")
        _require_choice(dataset_id, dataset_project, dataset_name, dataset_tags)
        task = current_task()
        if alias and overridable and task and _on_agent():
            dataset_id = task.get_parameter(f"Datasets/{alias}") or dataset_id
        if dataset_id:
            found = cls._by_id(dataset_id)
        else:
            choice = cls._matching(
                dataset_project, dataset_name, dataset_tags, dataset_version, only_completed, only_published
            )
            if not choice and not auto_create:
                wanted = "/".join(filter(None, (dataset_project, dataset_name)))
                raise InvalidInput(
                    f"there is no dataset '{wanted}' with version {dataset_version or 'any'} and tags "
                    f"{list(dataset_tags or ())} in {repository().url}."
                )
            found = choice or cls.create(dataset_name, dataset_project, dataset_tags)
        if writable_copy:
            found = cls.create(found.name, found.project, found.tags, [found])
        if alias and hasattr(task, "set_parameter"):
            task.set_parameter(f"Datasets/{alias}", found.id)
        return found

    @classmethod
    def _matching(
        cls,
        project: str | None,
        name: str | None,
        tags: Sequence[str] | None,
        version: str | None,
        completed: bool,
        published: bool,
    ) -> Self | None:
        for drafts in (False, True):
            found = [
                each
                for each in cls._named(project, name, drafts=drafts)
                if each._tagged(tags)
                and (not version or version in (each.version, each._version and each._version.label))
                and (not published or each._status == "published")
            ]
            if found or completed or published:
                return max(found, key=lambda each: each._order, default=None)
        return None

    @classmethod
    def list_datasets(
        cls,
        dataset_project: str | None = None,
        partial_name: str | None = None,
        tags: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        only_completed: bool = True,
        recursive_project_search: bool = True,
        include_archived: bool = True,
    ) -> list[dict[str, Any]]:
        """Return a table of the versions that match, oldest first; drafts only if `only_completed` is off.

        Args:
            dataset_project: the project.
            partial_name: a regular expression for a part of the name.
            tags: tags, of which a version has at least one.
            ids: the only ids to list.
            only_completed: leave out the drafts of this folder.
            recursive_project_search: include projects below `dataset_project`.
            include_archived: has no effect.
        """
        found = cls._named(None, None) + ([] if only_completed else cls._named(None, None, drafts=True))
        below = f"{dataset_project}/" if recursive_project_search else "\0"
        return [
            {
                "name": each.name,
                "created": each._held.created,
                "project": each.project,
                "id": each.id,
                "tags": each.tags,
                "version": each.version,
                "status": each._status,
            }
            for each in sorted(found, key=lambda each: each._held.created)
            if (not dataset_project or each.project == dataset_project or each.project.startswith(below))
            and (not partial_name or re.search(partial_name, each.name))
            and each._tagged(tags)
            and (not ids or each.id in ids)
        ]

    # changing

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
            with draft._core.changing():
                draft._core.edit_tree({each.path: each for each in kept})
                draft._core.commit()

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

    # publishing

    def upload(
        self,
        show_progress: bool = True,
        verbose: bool = False,
        output_url: str | None = None,
        compression: str | None = None,
        chunk_size: int | None = None,
        max_workers: int | None = None,
        retries: int = 3,
        preview: bool = True,
        upload_as_external_links: bool = False,
    ) -> bool | None:
        """Confirm the files; return True if there were none to confirm. No argument has an effect."""
        if self.is_dirty():
            self._save(dirty=False)
            return None
        _log.info("No pending files, skipping upload.")
        return True

    def finalize(self, verbose: bool = False, raise_on_error: bool = True, auto_upload: bool = False) -> bool:
        """Publish it as a version, atomically; its content is exactly that of the draft.

        Args:
            verbose: has no effect.
            raise_on_error: raise an error for files that are not uploaded; else return False.
            auto_upload: call `upload` first.

        Raises:
            InvalidInput: files are not uploaded, or it is finalized.
            Conflict: the version was taken meanwhile; set another `version` and repeat the call.
        """
        draft = self._of_draft("the state of")
        if self.is_dirty() and not auto_upload:
            if raise_on_error:
                raise InvalidInput(
                    f"files of dataset {self.id} are not uploaded.", hint="call upload() first"
                )
            return False
        kept = ("id", "project", "name", "tags", "version")
        note: dict[str, Any] = {key: self._note[key] for key in kept if key in self._note}
        message = str(self._note.get("description", ""))
        inherits = any(each["dataset"] == draft.dataset for each in draft._core.state.parents)
        for left in reversed(range(_TRIES)):
            known = self._repository._core.records.names(draft.dataset)
            label = label_of(note.get("version") or next_label([*known.labels, *known.deleted]))
            draft.finalize(message, label=label, metadata={NOTE: note}, allow_empty=True)
            try:
                self._version = draft.upload(allow_fork=inherits).version
                break
            except Conflict:
                if "version" in note or not left:
                    raise
        draft._core.forget()
        self._note = note
        self._point_tags(self.tags)
        return True

    def publish(self, raise_on_error: bool = True) -> bool:
        """Mark it as published, also with the tag `published`.

        Raises:
            InvalidInput: it is not finalized.
        """
        self._final("publish")
        self._save(status="published")
        self._point_tags(["published"])
        return True

    def is_final(self) -> bool:
        """Return whether it is finalized."""
        return self._version is not None

    def is_dirty(self) -> bool:
        """Return whether files were changed since the last `upload`."""
        return bool(self._note.get("dirty"))

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

    # whole datasets

    @classmethod
    def delete(
        cls,
        dataset_id: str | None = None,
        dataset_project: str | None = None,
        dataset_name: str | None = None,
        force: bool = False,
        dataset_version: str | None = None,
        entire_dataset: bool = False,
        shallow_search: bool = False,
        delete_files: bool = True,
        delete_external_files: bool = False,
    ) -> None:
        """Delete a version or a draft, or a whole dataset; log a warning if that fails, as ClearML does.

        Args:
            dataset_id: its id.
            dataset_project: its project.
            dataset_name: its name.
            force: also if other versions were made from it, which stay complete.
            dataset_version: its version.
            entire_dataset: all versions, and the drafts of this folder; needs `force`.
            shallow_search: has no effect.
            delete_files: has no effect: `dataver gc` deletes what no version needs.
            delete_external_files: has no effect: external files are never deleted.

        Raises:
            InvalidInput: neither an id nor a name is given, or both.
        """
        _require_choice(dataset_id, dataset_project, dataset_name)
        try:
            cls._delete(dataset_id, dataset_project, dataset_name, dataset_version, force, entire_dataset)
        except DataverError as error:
            _log.warning("Failed deleting dataset: %s", error)

    @classmethod
    def _delete(
        cls,
        given: str | None,
        project: str | None,
        name: str | None,
        version: str | None,
        force: bool,
        all_: bool,
    ) -> None:
        found = [cls._by_id(given)] if given else cls._named(project, name)
        found += [] if given else cls._named(project, name, drafts=True)
        found = [each for each in found if not version or each.version == version]
        if not found:
            raise NotFound(f"there is no dataset '{project}/{name}', or no such version of it.")
        if len(found) > 1 and not all_:
            raise InvalidInput(
                f"{len(found)} versions of '{project}/{name}' match.",
                hint="give the version, or entire_dataset with force",
            )
        if all_ and not force:
            raise InvalidInput("an entire dataset is deleted only with force=True.")
        repo = repository()
        refs = [each._version.ref for each in found if each._version]
        children = (
            {child for each in repo.plan_delete(refs).versions for child in each.children} if refs else ()
        )
        if children and not force:
            raise InvalidInput(
                f"{', '.join(sorted(children))} was made from it.", hint="force=True deletes it"
            )
        for each in found:
            if each._draft and not each._version:
                each._draft.discard()
        if refs:
            repo.delete(refs, force=True)

    @classmethod
    def rename(cls, new_dataset_name: str, dataset_project: str, dataset_name: str) -> None:
        """Rename a dataset, with all its versions.

        Raises:
            NotFound: there is no such dataset.
            AlreadyExists: the new name is taken.
        """
        repository().rename(
            _target(dataset_project, dataset_name), _target(dataset_project, new_dataset_name)
        )

    @classmethod
    def move_to_project(cls, new_dataset_project: str, dataset_project: str, dataset_name: str) -> None:
        """Move a dataset to another project; errors as for `rename`."""
        repository().rename(
            _target(dataset_project, dataset_name), _target(new_dataset_project, dataset_name)
        )

    @classmethod
    def squash(
        cls,
        dataset_name: str,
        dataset_ids: "Sequence[str | Dataset] | None" = None,
        dataset_project_name_pairs: Sequence[str] | None = None,
        output_url: str | None = None,
        close_squashed_dataset: bool | None = True,
    ) -> Self:
        """Create a dataset with the files of several, of which a later one overrides an earlier one.

        Its parents are those that they have in common. No data is copied.

        Args:
            dataset_name: its name, in the project of the first one.
            dataset_ids: ids or datasets.
            dataset_project_name_pairs: pairs of project and name, instead of ids.
            output_url: has no effect.
            close_squashed_dataset: finalize it.

        Raises:
            InvalidInput: none is given, or one does not exist or is not finalized.
        """
        if bool(dataset_ids) == bool(dataset_project_name_pairs):
            raise InvalidInput("give either dataset_ids or dataset_project_name_pairs.")
        found = [each if isinstance(each, Dataset) else cls.get(each) for each in dataset_ids or ()]
        found += [cls.get(None, *pair) for pair in dataset_project_name_pairs or ()]
        made = cls.create(dataset_name, found[0].project, parent_datasets=found)
        parents = [each._version.parents for each in found if each._version and len(found) > 1] or [[]]
        core = made._of_draft("the state of")._core
        with core.changing():
            core.state.parents = [asdict(ref) for ref in parents[0] if all(ref in some for some in parents)]
            core.commit()
        if close_squashed_dataset:
            made.finalize()
        return made

    # around

    def get_default_storage(self) -> str | None:
        """Return the URL of the repository."""
        return self._repository.url

    def get_logger(self) -> Logger:
        """Return a receiver of texts, which leaves out plots."""
        return Logger()

    @property
    def _task(self) -> DatasetTask:
        return DatasetTask(self)

    @classmethod
    def is_offline(cls) -> bool:
        """Return what `set_offline` was called with; there is no server in either mode."""
        return cls._offline

    @classmethod
    def set_offline(cls, offline_mode: bool = False) -> None:
        """Set what `is_offline` returns."""
        Dataset._offline = offline_mode

    def get_offline_mode_folder(self) -> Path | None:
        """Return None: there are no sessions."""
        return None

    @classmethod
    def import_offline_session(
        cls, session_folder_zip: str, upload: bool = True, finalize: bool = False
    ) -> str:
        """Import an offline session of ClearML as a version, whose id is that of the session; return it.

        Args:
            session_folder_zip: the folder of the session, or its zip file.
            upload: has no effect: files are stored.
            finalize: has no effect: it is finalized.

        Raises:
            InvalidInput: it is no such session, or cannot be read.
        """
        from dataver.importers import import_versions
        from dataver.importers.clearml import ClearMLSource, FolderReader

        source = ClearMLSource(FolderReader(session_folder_zip))
        problems = import_versions(repository(), source).problems
        key = next((each.key for each in source.versions()), None)
        if key is None:
            raise InvalidInput(f"{session_folder_zip} cannot be imported: {problems[0][1]}")
        for name, reason in problems:
            warnings.warn(f"{name} was not imported: {reason}", stacklevel=2)
        return key


def _target(project: str, name: str) -> str:
    return dataset_name(f"{project}/{name}")


def _folder(path: PurePosixPath) -> str:
    return "" if str(path) == "." else str(path)


def _place(
    kind: type[Dataset],
    parents: Sequence[Dataset],
    project: str | None,
    name: str | None,
    use_task: bool,
) -> tuple[str, str]:
    """Return the project and the name of a new dataset.

    Raises:
        InvalidInput: one of them is not known.
    """
    task = current_task()
    if task and (use_task or (project is None and name is None)):
        project, name = project or task.get_project_name(), name or task.name
    if name and not project:
        project = task.get_project_name() if task else parents[-1].project if parents else None
    if project and name is None and parents:
        name = parents[-1].name
    if not project or not name:
        raise InvalidInput("a dataset needs a project and a name.", hint="give dataset_project, dataset_name")
    return project, name


def _require_choice(given: object, *others: object) -> None:
    if not given and not any(others):
        raise InvalidInput("no dataset is selected.", hint="give dataset_id, or a project and a name")
    if given and any(others[:2]):
        raise InvalidInput("dataset_id cannot be combined with dataset_project or dataset_name.")


def _on_agent() -> bool:
    running = getattr(sys.modules.get("clearml.config"), "running_remotely", None)
    return bool(running and running())
