"""Profiles and tables of a version in the public API: columns, statistics, first rows, Arrow and pandas."""

from __future__ import annotations

import warnings
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeVar, cast

from dataver.api.version_facts import VersionFacts
from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.extras import require_extra
from dataver.formats.profile import decode_profile
from dataver.log import info as log_info
from dataver.progress import SILENT, Progress, receiver
from dataver.tables import format_of
from dataver.tree import Given, Selection, Tree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from dataver.formats.entry import Entry
    from dataver.formats.profile import Lines
    from dataver.profiles.kinds import Source
    from dataver.profiles.making import ProfileReport
    from dataver.profiles.table_heads import Column
    from dataver.reading.stream import FileReader

# Imports in functions: DuckDB and pyarrow are optional, and few versions are profiled.

__all__ = ["FilesOfKind", "Looking"]

T = TypeVar("T")
_PACKED: Final = (".gz", ".zst", ".bz2", ".xz")
_SUFFIX: Final = 12  # characters of a suffix, in a name that has many dots


class FilesOfKind(NamedTuple):
    """Files of a version with the same suffix.

    Attributes:
        suffix: in lower case, such as `.csv.gz`; empty for names without one.
        kind: what they are by their suffix: table, image, audio, array, text, json, archive; None if unknown.
        files: their number.
        size: their bytes.
        rows: of the tables whose profiles know it; None if no profile does.
        uncounted: tables whose rows are not known.
    """

    suffix: str
    kind: str | None
    files: int
    size: int
    rows: int | None
    uncounted: int


class Looking(VersionFacts):
    """Base class of `dataver.Version`: profiles of its files, and rows of its tables."""

    _tree: Tree
    entry: Callable[..., Entry]
    open: Callable[..., FileReader]
    path: Callable[..., Path]

    def profile(
        self, include: Given | None = None, *, exclude: Given = (), progress: Progress | bool = SILENT
    ) -> ProfileReport:
        """Make full profiles of its files and store them; files that have one are not read.

        A repeated call continues an interrupted one. A broken file has a profile with a `problem`.

        Args:
            include: globs; only matching files.
            exclude: globs of files to leave out.
            progress: receives files and bytes; True shows a bar.

        Raises:
            PathNotFound: a pattern of `include` matches nothing.
            InvalidInput: it is not uploaded.
            IntegrityError: the repository holds other bytes for a file.
            StoreError: the store failed, or refuses profiles; repeating the call continues.
            NotFound: it was deleted meanwhile; no profile is left.
        """
        from dataver.profiles.making import profile_version
        from dataver.reading import Files

        files = Files(self._repository, self._published())
        chosen = Selection.across([self._tree], include, exclude).matcher()
        with receiver(progress, "Profiling") as updates:
            return profile_version(self._repository, files, chosen, self.path, updates)

    def profiles(
        self, include: Given | None = None, *, exclude: Given = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the path and the profile of each file that has one, in path order; reads no file.

        A profile is a JSON object with `kind` (table, image, audio, array, text, json or archive), `full`,
        `problem` of a broken file, `partial` where a bound was met, and what `docs/profiles.md` lists.

        Args:
            include: globs; only matching files.
            exclude: globs of files to leave out.

        Raises:
            PathNotFound: a pattern of `include` matches nothing.
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        return self._stored(Selection.across([self._tree], include, exclude).matcher())

    def _stored(self, chosen: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
        from dataver.profiles.kinds import kind_of

        dataset, files = self._published().record.dataset, defaultdict[str, list[tuple[str, bytes]]](list)
        for path, _, name in self._tree.files():
            if (kind := kind_of(path)) and chosen(path):
                files[kind.group].append((path, name))
        lines: Lines = {}
        for group, some in files.items():
            lines |= self._repository.profiles.find(dataset, group, {name for _, name in some})
        ordered = sorted(each for some in files.values() for each in some)
        return ((path, decode_profile(lines[name])) for path, name in ordered if name in lines)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return its tables by path, each with its profile in the repository, or empty if it has none.

        A profile has `columns`, and if it is full, `rows`, `statistics` and `sample`: see `docs/profiles.md`.

        Raises:
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        found: dict[str, dict[str, Any]] = {path: {} for path, *_ in self._tree.files() if format_of(path)}
        return found | dict(self._stored(lambda path: path in found))

    def kinds(self) -> list[FilesOfKind]:
        """Return how many files of each suffix it has, most bytes first; reads the whole tree.

        Raises:
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        from dataver.profiles.kinds import kind_of

        sizes, rows = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
        for path, size, _ in self._tree.files():
            sizes[_suffix(path)].append(size)
        try:
            tables = self.tables() if any(format_of(f"x{suffix}") for suffix in sizes) else {}
            for path, profile in tables.items():
                if "rows" in profile:
                    rows[_suffix(path)].append(profile["rows"])
        except StoreError as error:
            log_info("rows are not counted: %s", error.message)
        found = []
        for suffix, some in sizes.items():
            kind, counted = kind_of(f"x{suffix}"), rows[suffix]
            uncounted = len(some) - len(counted) if format_of(f"x{suffix}") else 0
            known = sum(counted) if counted else None
            found.append(
                FilesOfKind(suffix, kind.name if kind else None, len(some), sum(some), known, uncounted)
            )
        return sorted(found, key=lambda each: (-each.size, each.suffix))

    def schema(self, path: str | os.PathLike[str]) -> list[Column]:
        """Return the columns of a table, from its profile if it has one, else from its footer or first lines.

        Types have the names of Arrow, the same for each format; without a full profile, those in text are
        of the first rows. A `UserWarning` names lines that do not fit the others, if they are known.

        Args:
            path: of a file of the version.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it is not a table, or is damaged; or `dataver[tables]` is not installed.
            StoreError: the store failed.
        """
        from dataver.profiles.rows import columns_of
        from dataver.profiles.table_heads import Column

        table = self._table(path)
        profile = self._profile_of(table)
        columns = [Column(*map(each.get, Column._fields)) for each in profile.get("columns", ())]
        problem = profile.get("problem")
        if "columns" not in profile or "partial" in profile:
            columns, problem = self._ask(table, columns_of)
        self._warn(table, problem)
        return columns

    def statistics(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return the statistics of a table's columns, as Hugging Face's dataset viewer documents them.

        They come from its full profile; without one, the file is fetched and read, and nothing is stored:
        `Version.profile` stores profiles for all readers.

        Args:
            path: of a file of the version.

        Returns:
            `num_examples`, the number of rows; `partial`, whether they are the first ones only; and
            `statistics`: of each column `column_name`, `column_type` and `column_statistics`, whose fields
            `docs/tables.md` lists: values of numbers, lengths of texts in characters. A `UserWarning` names
            lines that were left out.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it cannot be read as a table; or `dataver[tables]` is not installed.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed.
        """
        from dataver.profiles.tables import full

        table = self._table(path)
        profile = self._profile_of(table)
        if not profile.get("full"):
            profile = self._ask(table, full)
        if "statistics" not in profile:
            reason = profile.get("problem", "its profile has none")
            raise InvalidInput(f"'{table.name}' in {self.ref} has no statistics: {reason}.")
        self._warn(table, profile.get("problem"))
        found: dict[str, Any] = profile["statistics"]
        return found

    def head(self, path: str | os.PathLike[str], n: int = 10) -> pa.Table:
        """Return the first rows of a table; of a large file only its beginning is read.

        Args:
            path: of a file of the version.
            n: the number of rows at most.

        Returns:
            All columns, with Arrow's types. A `UserWarning` names lines that were left out.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: `n` is negative, or it cannot be read as a table; or
                `dataver[tables]` is not installed.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed.
        """
        from dataver.profiles.rows import first_rows

        if n < 0:
            raise InvalidInput(f"{n} is no number of rows.", hint="give 0 or more")
        table = self._table(path)
        found, problem = self._ask(table, lambda source: first_rows(source, n))
        self._warn(table, problem)
        return found

    def to_arrow(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return a table as a `pyarrow.Table`; of Parquet only the wanted columns are transferred.

        Args:
            path: of a file of the version.
            columns: names of columns, in the order of the result, or one name; None means all.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it cannot be read as a table without leaving out lines, or has no such column; or
                `dataver[tables]` is not installed.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed.
        """
        from dataver.profiles.rows import all_rows

        wanted = [columns] if isinstance(columns, str) else columns
        return self._ask(self._table(path), lambda source: all_rows(source, wanted))

    def to_pandas(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a table as a pandas DataFrame; arguments and errors as for `to_arrow`. Needs pandas."""
        try:
            import pandas as pd  # noqa: F401
        except ModuleNotFoundError as error:
            raise InvalidInput(
                "a DataFrame needs the Python package pandas, which is not installed.",
                hint="pip install pandas",
            ) from error
        return self.to_arrow(path, columns).to_pandas()

    def _table(self, path: str | os.PathLike[str]) -> Source:
        """Return a table as a source of profiles.

        Raises:
            InvalidInput: it is not a table by its suffix; or the version is not uploaded.
        """
        from dataver.profiles.kinds import Source, kind_of

        self._published()  # the error of a version that is not uploaded says nothing of tables
        entry = self.entry(path)
        kind = kind_of(entry.path)
        if kind is None or kind.name != "table":
            raise InvalidInput(
                f"'{entry.path}' in {self.ref} is not a table by its suffix.",
                hint="tables are .csv, .tsv, .jsonl, .ndjson, .parquet, .arrow and .feather files",
            )
        opening = cast("Callable[[], BinaryIO]", partial(self.open, entry.path))
        return Source(entry.path, entry.size, entry.digest, kind, True, opening, self.path)

    def _profile_of(self, table: Source) -> dict[str, Any]:
        """Return the profile of a table in the repository; empty if it has none."""
        try:
            lines = self._repository.profiles.find(self.dataset, "tables", {table.digest})
        except StoreError as error:
            log_info("the profile of %s is not used: %s", table.name, error.message)
            return {}
        return decode_profile(lines[table.digest]) if lines else {}

    def _ask(self, table: Source, read: Callable[[Source], T]) -> T:
        """Return the result of a function of a table.

        Raises:
            InvalidInput: it cannot be read as a table; or `dataver[tables]` is not installed.
        """
        require_extra("tables", "reading a table")
        import pyarrow as pa

        where = f"'{table.name}' in {self.ref}"
        try:
            return read(table)
        except InvalidInput as error:
            problem = error.message.rstrip(".")
            raise InvalidInput(f"{where} cannot be read as a table: {problem}.", hint=error.hint) from error
        except DataverError:
            raise
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise InvalidInput(f"{where} is damaged: {str(error).rstrip('.')}.") from error

    def _warn(self, table: Source, problem: str | None) -> None:
        """Warn the caller of the public method of what was left out."""
        if problem:
            warnings.warn(f"'{table.name}' in {self.ref}: {problem.rstrip('.')}.", stacklevel=3)


def _suffix(path: str) -> str:
    base = path.rpartition("/")[2].lower()
    stem, dot, last = base.rpartition(".")
    if not stem or len(last) > _SUFFIX:
        return ""
    return _suffix(stem) + dot + last if dot + last in _PACKED else dot + last
