"""Identity of a ClearML dataset in a repository: its id, project, name, version, tags and status.

The idea: a dataset of ClearML is one version, with an id from the moment of `create`. What dataver has no
place for is a *note*, a few JSON values: the draft keeps it, `finalize` moves it to the metadata of the
record, and later changes go to the version's description. So an id given to a draft names the version that
becomes of it, on every machine. A version without a note has the first 32 digits of its digest as its id, and
an imported one the id of its ClearML task.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import dataver
from dataver.errors import InvalidInput
from dataver.formats.names import check_label
from dataver.importers.names import dataset_name, tag_name
from dataver.repository import Published

if TYPE_CHECKING:
    from dataver import Draft, Repository, Version

__all__ = ["META", "NOTE", "DatasetFacts", "label_of", "repository", "set_repository"]

NOTE: Final = "clearml"
META: Final = ".clearml"
"""The folder in a version with what `set_metadata` stores; not among the files of the dataset."""

_NUMBERS: Final = re.compile(r"v?(\d+(?:\.\d+)*)(.*)", re.DOTALL)
_chosen: "list[Repository]" = []


def set_repository(where: "Repository | str | Path | None") -> None:
    """Use a repository, or one at a URL, from now on; None means the configured one, as at the start."""
    found = dataver.open(where) if isinstance(where, str | Path) else where
    _chosen[:] = [found] if found else []


def repository() -> "Repository":
    """Return the repository in use: that of `set_repository`, else the one that `dataver.open()` finds."""
    return _chosen[0] if _chosen else dataver.open()


def label_of(version: str) -> str:
    """Return the label for a version of ClearML, which may be any text.

    Raises:
        InvalidInput: nothing of it can be in a label.
    """
    label = tag_name(version)
    if label is None:
        check_label(version)
        raise InvalidInput(f"'{version}' cannot be the label of a version.")
    return label


class DatasetFacts:
    """What is known of a dataset without its files; the base class of `Dataset`."""

    def __init__(self, repository: "Repository", held: "Draft | Version") -> None:
        self._repository, self._held = repository, held
        found: Any = held.metadata.get(NOTE) if isinstance(held, dataver.Version) else held._core.state.notes
        self._note: dict[str, Any] = dict(found) if isinstance(found, dict) else {}

    def __repr__(self) -> str:
        return f"Dataset({self.project!r}, {self.name!r}, version={self.version!r}, id={self.id!r})"

    @property
    def id(self) -> str:
        """Its id; the same before and after `finalize`."""
        own = self._version.digest[4:36] if self._version else self._draft and self._draft.id
        return str(self._note.get("id") or own)

    @property
    def project(self) -> str:
        """Its project."""
        return self._names()[0]

    @property
    def name(self) -> str:
        """Its name in the project."""
        return self._names()[1]

    @property
    def version(self) -> str | None:
        """Its version; before `finalize` the likely one if none was given."""
        given = self._note.get("version")
        return str(given) if given else self._version.label if self._version else self._note.get("next")

    @version.setter
    def version(self, version: str) -> None:
        self._of_draft("the version of")
        label_of(str(version).strip())
        self._save(version=str(version).strip())

    @property
    def tags(self) -> list[str]:
        """Its tags. Each is also a tag of dataver, which points to the version that got it last."""
        return [str(tag) for tag in self._note.get("tags", ())]

    @tags.setter
    def tags(self, values: list[str]) -> None:
        dropped = set(self.tags) - set(values or ())
        self._save(tags=list(dict.fromkeys(values or ())))
        if self._version:
            self._point_tags(self.tags)
            for tag in set(map(tag_name, dropped)) & set(self._version.tags):
                self._repository.untag(self._version.dataset, str(tag))

    def add_tags(self, tags: Sequence[str] | str) -> None:
        """Add tags."""
        self.tags = [*self.tags, *([tags] if isinstance(tags, str) else tags)]

    @property
    def _status(self) -> str:
        return str(self._note.get("status", "completed")) if self._version else "in_progress"

    @property
    def _draft(self) -> "Draft | None":
        return self._held if isinstance(self._held, dataver.Draft) else None

    @property
    def _version(self) -> "Version | None":
        return self._held if isinstance(self._held, dataver.Version) else None

    @property
    def _order(self) -> tuple[Any, ...]:
        """Order of versions: numbers before other texts, `1.0.0rc1` before `1.0.0`, then by time."""
        found = _NUMBERS.fullmatch(self.version or "")
        numbers = tuple(map(int, found[1].split("."))) if found else ()
        rest = found[2] if found else ""
        return numbers, not rest, rest, self._held.created

    def _names(self) -> tuple[str, str]:
        project, name = str(self._note.get("project", "")), str(self._note.get("name", ""))
        if name and dataset_name(f"{project}/{name}") == self._held.dataset:
            return project, name
        project, _, name = self._held.dataset.rpartition("/")
        return project, name

    def _has_names(self, project: str | None, name: str | None) -> bool:
        """Return whether these are its names, as far as it has any beside that of the dataset in dataver."""
        here = self._held.dataset
        return f"{project}/{name}" == here or self._names() in ((project, name), here.rpartition("/")[::2])

    def _of_draft(self, what: str) -> "Draft":
        """Return its draft.

        Raises:
            InvalidInput: it is finalized.
        """
        if not self._draft:
            raise InvalidInput(
                f"{what} dataset {self.id} cannot change: it is finalized.",
                hint="Dataset.create(parent_datasets=[…]) starts the next version",
            )
        return self._draft

    def _final(self, what: str) -> "Version":
        """Return its version.

        Raises:
            InvalidInput: it is not finalized.
        """
        if not self._version:
            raise InvalidInput(f"cannot {what} dataset {self.id}: it is not finalized.", hint="finalize it")
        return self._version

    def _save(self, **values: Any) -> None:
        self._note.update(values)
        if self._version:
            self._version.describe(set={NOTE: self._note})
        elif self._draft:
            self._draft._core.note(self._note)

    def _point_tags(self, tags: Iterable[str]) -> None:
        for tag in dict.fromkeys(filter(None, map(tag_name, tags))):
            with suppress(dataver.Conflict, InvalidInput):  # protected, or the label of a version
                self._final("tag").tag(tag)

    # finding

    @classmethod
    def _by_id(cls, given: str) -> Self:
        """Return the dataset with an id, or a version by a name of dataver's, such as `vision/cats@1.0.0`.

        Raises:
            InvalidInput: there is none.
        """
        repo = repository()
        for draft in repo.drafts():
            if given in (draft.id, draft._core.state.notes.get("id")):
                return cls(repo, draft)
        if "@" in given or given.startswith("dv1:"):
            return cls(repo, repo.version(given))
        records = repo._core.records
        found = [each for each in records.many(records.everything()) if given.lower() in _ids(each)]
        if not found:
            raise InvalidInput(
                f"there is no dataset with the id '{given}' in {repo.url}.",
                hint="drafts are found in the folder where they were created, and below",
            )
        newest = max(found, key=lambda each: each.record.created)
        return cls(repo, dataver.Version.of(repo._core, newest))

    @classmethod
    def _matching(
        cls,
        project: str | None,
        name: str | None,
        version: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> list[Self]:
        """Return the versions, then the drafts of this folder, that match what is given; None means any."""
        repo, wanted = repository(), dataset_name(f"{project}/{name}") if project and name else ""
        records, described = repo._core.records, repo._core.descriptions.lookup(wanted)
        refs = [(at, *one) for at, labels in records.datasets(wanted).items() for one in labels.items()]
        every = records.many(each for each in refs if wanted in ("", each[0]))
        found = [cls(repo, dataver.Version.of(repo._core, each, described)) for each in every]
        found += [cls(repo, draft) for draft in repo.drafts()]
        if wanted:
            found = [
                each for each in found if each._held.dataset == wanted and each._has_names(project, name)
            ]
        else:
            found = [each for each in found if project in (None, each.project) and name in (None, each.name)]
        return [
            each
            for each in found
            if each._tagged(tags)
            and (not version or version in (each.version, each._version and each._version.label))
        ]

    def _tagged(self, tags: Sequence[str] | None) -> bool:
        """Return whether it has one of the tags, and none that are given with a `-` before them."""
        own, wanted = set(self.tags), [tags] if isinstance(tags, str) else list(tags or ())
        refused = {tag[1:] for tag in wanted if tag.startswith("-")}
        needed = {tag for tag in wanted if not tag.startswith("-")}
        return not refused & own and (not needed or bool(needed & own))


def _ids(published: Published) -> set[str]:
    note = published.record.metadata.get(NOTE)
    own = str(note.get("id", "")).lower() if isinstance(note, dict) else ""
    return {own, published.record.tree.hex()[:32]} - {""}
