"""`dataver.lock`: the versions that a code repository uses, kept in its history.

The idea: code refers to `vision/cats@production`; the lock pins the version that this meant when it was
locked, with its digest. A checkout of old code finds its old data, and CI detects that a name moved.

The file is sorted TOML with one table per version, so that concurrent changes merge as text. It holds no URL
and no secret: it names the repository by its id; `DATAVER_REPO` or the project's configuration locates it.

Keeps invariant 1: a locked version is used only if its record and its tree are the locked ones.
"""

import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from dataver.api.repository import Repository
from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import is_hex
from dataver.formats.names import check_dataset_name, check_label
from dataver.repository import Published
from dataver.repository.resolve import split_ref
from dataver.storage.durable import replace_file

__all__ = ["LOCK_NAME", "Drift", "Finding", "LockFile", "LockedVersion"]

LOCK_NAME: Final = "dataver.lock"

_FORMAT: Final = 1
_HEAD: Final = "# Written by `dataver lock`: the versions this code uses. Commit it.\n"
_LIMIT: Final = 16 << 20
_TEXTS: Final = ("asked", "dataset", "label", "digest", "record", "repository")
_NUMBERS: Final = ("files", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedVersion:
    """One pin of a lock file.

    Attributes:
        asked: the reference that the code uses, such as `vision/cats@production`.
        dataset: the dataset.
        label: the label of the pinned version.
        digest: the digest of its tree, `dv1:` and 64 hex.
        record: the id of its record, 64 hex.
        repository: the id of the repository it was found in, 32 hex.
        files: the number of its files.
        size: their bytes.
    """

    asked: str
    dataset: str
    label: str
    digest: str
    record: str
    repository: str
    files: int
    size: int

    def __repr__(self) -> str:
        return f"LockedVersion({self.asked!r}, {self.ref!r}, {self.digest[:16]}…)"

    @property
    def ref(self) -> str:
        """The exact version, `dataset@label`."""
        return f"{self.dataset}@{self.label}"

    @classmethod
    def of(cls, repository: Repository, asked: str, found: Published) -> "LockedVersion":
        """Return the pin of a version found by a reference."""
        record = found.record
        return cls(
            asked=asked,
            dataset=record.dataset,
            label=record.label,
            digest=f"dv1:{record.tree.hex()}",
            record=found.record_id,
            repository=repository.id,
            files=record.files,
            size=record.size,
        )


class Drift(Enum):
    """State of a locked version compared with the repository.

    Attributes:
        SAME: the reference still resolves to it.
        MOVED: the reference now resolves to another version.
        GONE: it is not in the repository any more.
        CHANGED: its label names different content: the history was rewritten.
        ELSEWHERE: it was locked in another repository.
    """

    SAME = "same"
    MOVED = "moved"
    GONE = "gone"
    CHANGED = "changed"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Finding:
    """One compared pin.

    Attributes:
        locked: the pin.
        drift: the state of the locked version.
        now: the version that its reference resolves to now, as `dataset@label`; None if there is none.
    """

    locked: LockedVersion
    drift: Drift
    now: str | None


class LockFile:
    """The locked versions of one code repository. Iteration yields the pins, sorted by reference.

        lock = dataver.LockFile.find()
        lock.add(repo, "vision/cats@production")
        lock.save()

    Attributes:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path, versions: Iterable[LockedVersion] = ()) -> None:
        self.path = path
        self._versions = {each.asked: each for each in versions}

    def __repr__(self) -> str:
        return f"LockFile({str(self.path)!r}, versions={len(self)})"

    def __iter__(self) -> Iterator[LockedVersion]:
        return iter(sorted(self._versions.values(), key=lambda each: each.asked))

    def __len__(self) -> int:
        return len(self._versions)

    @classmethod
    def find(cls, start: Path | None = None) -> "LockFile":
        """Load the lock file of the project that contains `start` (default: the current folder).

        That is the nearest `dataver.lock` upwards. If there is none, an empty lock at the top of the
        project: the nearest folder upwards with `.git` or `.dataver`, else `start`.

        Raises:
            InvalidInput: the file is not a valid lock file.
        """
        here = (start or Path.cwd()).absolute()
        above = (here, *here.parents)
        for folder in above:
            if os.path.isfile(folder / LOCK_NAME):  # noqa: PTH113  # never raises
                return cls.load(folder / LOCK_NAME)
        tops = (each for each in above if (each / ".git").exists() or (each / ".dataver").is_dir())
        return cls(next(tops, here) / LOCK_NAME)

    @classmethod
    def load(cls, path: Path) -> "LockFile":
        """Load a lock file.

        Raises:
            NotFound: the file does not exist.
            InvalidInput: it is not a valid lock file, for example because of conflict marks of a merge.
        """
        try:
            if path.stat().st_size > _LIMIT:
                raise InvalidInput(f"{path} is no lock: it is larger than {_LIMIT >> 20} MiB.")
            values = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise NotFound(f"there is no lock {path}.", hint="`dataver lock NAME` makes one") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{path} is no lock: {error}.",
                hint="resolve merge conflicts in it, or delete it and lock again",
            ) from error
        if values.get("format") != _FORMAT:
            raise InvalidInput(
                f"{path} has the format {values.get('format')!r}; this dataver reads format {_FORMAT}.",
                hint="use the dataver that wrote it, or delete it and lock again",
            )
        tables = values.get("version", [])
        if not isinstance(tables, list):
            raise InvalidInput(f"{path} is no lock: 'version' is not a list of tables.")
        return cls(path, (_parse(path, table) for table in tables))

    def save(self) -> None:
        """Write the file atomically."""
        replace_file(self.path, self.text(), durable=True)

    def text(self) -> str:
        """Return the text that `save` writes."""
        lines = [_HEAD, f"format = {_FORMAT}\n"]
        for each in self:
            lines.append("\n[[version]]\n")
            lines += [f"{name} = {_quoted(getattr(each, name))}\n" for name in _TEXTS]
            lines += [f"{name} = {getattr(each, name)}\n" for name in _NUMBERS]
        return "".join(lines)

    def add(self, repository: Repository, asked: str) -> LockedVersion:
        """Pin the version that `asked` resolves to now, replacing an earlier pin; does not save.

        Raises:
            NotFound: it does not resolve.
            InvalidInput: it is not a valid reference.
        """
        locked = LockedVersion.of(repository, asked, repository._core.resolve(asked))
        self._versions[asked] = locked
        return locked

    def remove(self, asked: str) -> LockedVersion:
        """Remove a pin; does not save.

        Raises:
            NotFound: it is not locked.
        """
        locked = self.get(asked)
        del self._versions[locked.asked]
        return locked

    def get(self, asked: str) -> LockedVersion:
        """Return the pin of a reference: by the reference itself, else by exact version or dataset.

        Raises:
            NotFound: no pin matches, or several do.
        """
        if asked in self._versions:
            return self._versions[asked]
        fitting = [each for each in self if asked in (each.ref, each.digest)]
        if not fitting and "@" not in asked:
            fitting = [each for each in self if each.dataset == asked]
        records = {each.record: each for each in fitting}
        if len(records) == 1:
            return records.popitem()[1]
        known = ", ".join(each.asked for each in fitting or self) or "nothing"
        problem = "matches several locked versions" if fitting else "is not locked"
        raise NotFound(
            f"'{asked}' {problem} in {self.path}: it holds {known}.", hint=f"`dataver lock {asked}`"
        )

    def pinned(self, repository: Repository, asked: str) -> str:
        """Return the exact reference of a locked version, after comparing it with the repository.

        Raises:
            NotFound: it is not locked, or the version was deleted.
            Conflict: it was locked in another repository.
            IntegrityError: the label names different content from the locked one.
        """
        locked = self.get(asked)
        drift = self._state(repository, locked)
        where = repository.url
        if drift is Drift.ELSEWHERE:
            raise Conflict(
                f"'{locked.asked}' was locked in repository {locked.repository}; {where} is {repository.id}.",
                hint="open the repository it was locked in, or lock it again in this one",
            )
        if drift is Drift.GONE:
            gone = f"{locked.ref}, which {self.path} locks, is not in {where} any more"
            try:
                repository._core.resolve(locked.ref)  # its error has the reason: deleted, or renamed
            except NotFound as error:
                raise NotFound(f"{gone}: {error.message}", hint=error.hint) from error
            raise NotFound(f"{gone}.", hint="try again: it was published meanwhile")
        if drift is Drift.CHANGED:
            raise IntegrityError(
                f"{locked.ref} in {where} is not what {self.path} locked ({locked.digest}).",
                hint="its history was replaced; find out why before you lock it again",
            )
        return locked.ref

    def check(self, repository: Repository) -> list[Finding]:
        """Compare every locked version with the version its reference resolves to now."""
        found = []
        for locked in self:
            drift, now = self._state(repository, locked), None
            if drift is not Drift.ELSEWHERE:
                try:
                    current = repository._core.resolve(locked.asked)
                    now = current.ref
                    if drift is Drift.SAME and current.record_id != locked.record:
                        drift = Drift.MOVED
                except NotFound:
                    drift = Drift.GONE
            found.append(Finding(locked, drift, now))
        return found

    @staticmethod
    def _state(repository: Repository, locked: LockedVersion) -> Drift:
        """Compare the exact version, independent of what its reference resolves to now."""
        if locked.repository != repository.id:
            return Drift.ELSEWHERE
        try:
            current = repository._core.records.get(locked.dataset, locked.label)
        except NotFound:
            return Drift.GONE
        same = current.record_id == locked.record and f"dv1:{current.record.tree.hex()}" == locked.digest
        return Drift.SAME if same else Drift.CHANGED


def _parse(path: Path, table: Any) -> LockedVersion:
    what = f"{path} is no lock"
    if not isinstance(table, dict):
        raise InvalidInput(f"{what}: a version is not a table.")
    for name, kind in (*((name, str) for name in _TEXTS), *((name, int) for name in _NUMBERS)):
        if type(table.get(name)) is not kind:
            raise InvalidInput(f"{what}: a version has no {name!r}, or one that cannot be.")
    values = {name: table[name] for name in (*_TEXTS, *_NUMBERS)}
    digest = values["digest"].removeprefix("dv1:")
    if not (is_hex(digest, 64) and is_hex(values["record"], 64) and is_hex(values["repository"], 32)):
        raise InvalidInput(f"{what}: the digest or the record of {values['asked']!r} is damaged.")
    check_dataset_name(values["dataset"])
    check_label(values["label"])
    if not values["asked"].startswith("dv1:"):
        split_ref(values["asked"])
    return LockedVersion(**values)


def _quoted(text: str) -> str:
    """Return a TOML string; TOML's strings equal JSON's except for DEL, which no name here contains."""
    return json.dumps(text, ensure_ascii=False)
