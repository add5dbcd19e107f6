"""`Dataset` with the signatures of `clearml.Dataset` (2.1), over drafts and versions.

The idea: `create` starts a draft, the methods that change files edit it, and `finalize` publishes it. Files
are stored by `add_files` at once, so `upload` only confirms them. Arguments about servers, zip files and
threads are accepted and have no effect.
"""

import logging
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from dataver.compat.clearml.artifacts import current_task, on_agent, project_and_name
from dataver.compat.clearml.changes import DatasetChanges
from dataver.compat.clearml.facts import META, NOTE, label_of, repository
from dataver.errors import Conflict, DataverError, InvalidInput, NotFound
from dataver.formats.names import next_label
from dataver.importers.names import dataset_name

# Imports in functions: offline sessions are rarely imported.

__all__ = ["Dataset"]

_log = logging.getLogger("dataver.compat.clearml")
_TRIES = 8  # others may take the next version first


class Dataset(DatasetChanges):
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
        last = (parents[-1].project, parents[-1].name) if parents else None
        project, name = project_and_name(dataset_project, dataset_name, last, use_task=use_current_task)
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
        made = cls(repo, draft)
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
        if alias and overridable and task and on_agent():
            dataset_id = task.get_parameter(f"Datasets/{alias}") or dataset_id
        if dataset_id:
            found = cls._by_id(dataset_id)
        else:
            choice = cls._matching(dataset_project, dataset_name, dataset_version, dataset_tags)
            final = [each for each in choice if each.is_final()]
            if only_published:
                final = [each for each in final if each._status == "published"]
            elif not only_completed:
                final = final or choice
            best = max(final, key=lambda each: each._order, default=None)
            if best is None and not auto_create:
                wanted = "/".join(filter(None, (dataset_project, dataset_name)))
                raise InvalidInput(
                    f"there is no dataset '{wanted}' with version {dataset_version or 'any'} and tags "
                    f"{list(dataset_tags or ())} in {repository().url}."
                )
            found = best or cls.create(dataset_name, dataset_project, dataset_tags)
        if writable_copy:
            found = cls.create(found.name, found.project, found.tags, [found])
        if alias and hasattr(task, "set_parameter"):
            task.set_parameter(f"Datasets/{alias}", found.id)
        return found

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
        found = sorted(cls._matching(None, None, tags=tags), key=lambda each: each._held.created)
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
            for each in found
            if (each.is_final() or not only_completed)
            and (not dataset_project or each.project == dataset_project or each.project.startswith(below))
            and (not partial_name or re.search(partial_name, each.name))
            and (not ids or each.id in ids)
        ]

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
                self._held = draft.upload(allow_fork=inherits).version
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
            found = cls._selected(dataset_id, dataset_project, dataset_name, dataset_version)
            cls._delete(found, force=force, entire=entire_dataset)
        except DataverError as error:
            _log.warning("Failed deleting dataset: %s", error)

    @classmethod
    def _selected(
        cls, given: str | None, project: str | None, name: str | None, version: str | None
    ) -> list[Self]:
        found = [cls._by_id(given)] if given else cls._matching(project, name)
        found = [each for each in found if not version or each.version == version]
        if not found:
            raise NotFound(f"there is no dataset '{project}/{name}', or no such version of it.")
        return found

    @staticmethod
    def _delete(found: "Sequence[Dataset]", *, force: bool, entire: bool) -> None:
        if len(found) > 1 and not entire:
            raise InvalidInput(
                f"{len(found)} versions of '{found[0].project}/{found[0].name}' match.",
                hint="give the version, or entire_dataset with force",
            )
        if entire and not force:
            raise InvalidInput("an entire dataset is deleted only with force=True.")
        repo = repository()
        refs = [each._version.ref for each in found if each._version]
        planned = repo.plan_delete(refs).versions if refs else ()
        children = {child for each in planned for child in each.children}
        if children and not force:
            raise InvalidInput(
                f"{', '.join(sorted(children))} was made from it.", hint="force=True deletes it"
            )
        for each in found:
            if each._draft:
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


def _require_choice(given: object, *others: object) -> None:
    if not given and not any(others):
        raise InvalidInput("no dataset is selected.", hint="give dataset_id, or a project and a name")
    if given and any(others[:2]):
        raise InvalidInput("dataset_id cannot be combined with dataset_project or dataset_name.")
