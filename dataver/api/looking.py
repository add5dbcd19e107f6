"""Tables of a version in the public API: columns, statistics, first rows, Arrow and pandas."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeVar, cast

from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.extras import require_extra
from dataver.formats.profile import decode_profile
from dataver.log import info as log_info
from dataver.tables import format_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from dataver.formats.entry import Entry
    from dataver.profiles.kinds import Source
    from dataver.profiles.table_heads import Column
    from dataver.reading.stream import FileReader
    from dataver.repository import Published, RepositoryCore
    from dataver.tree import Tree

# Imports in functions: DuckDB and pyarrow are optional, and few versions are asked for tables.

__all__ = ["FilesOfKind", "TableReading"]

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


class TableReading:
    """Base class of `dataver.Version`: tables in CSV, TSV, JSON lines, Parquet and Arrow files."""

    if TYPE_CHECKING:
        _repository: RepositoryCore

        @property
        def ref(self) -> str: ...  # noqa: D102  # of `Version`

        def _published(self) -> Published: ...

        @property
        def tree(self) -> Tree: ...  # noqa: D102  # the same

        def entry(self, path: str | os.PathLike[str]) -> Entry:  # noqa: D102  # the same
            ...

        def open(self, path: str | os.PathLike[str]) -> FileReader:  # noqa: D102  # the same
            ...

        def path(self, path: str | os.PathLike[str]) -> Path:  # noqa: D102  # the same
            ...

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return its tables by path, each with its profile in the repository, or empty if it has none.

        A profile has `columns`, and if it is full, `rows`, `statistics` and `sample`: see `docs/profiles.md`.

        Raises:
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        digests = {path: digest for path, _, digest in self._files() if format_of(path)}
        dataset = self._published().record.dataset
        lines = self._repository.profiles.find(dataset, "tables", set(digests.values()))
        return {
            path: decode_profile(lines[digest]) if digest in lines else {} for path, digest in digests.items()
        }

    def kinds(self) -> list[FilesOfKind]:
        """Return how many files of each suffix it has, most bytes first; reads the whole tree.

        Raises:
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        from dataver.profiles.kinds import kind_of

        sizes: dict[str, list[int]] = {}
        for path, size, _ in self._files():
            sizes.setdefault(_suffix(path), []).append(size)
        rows: dict[str, list[int]] = {}
        tables: dict[str, dict[str, Any]] = {}
        try:
            tables = self.tables() if any(map(format_of, map("x{}".format, sizes))) else {}
        except StoreError as error:
            log_info("rows are not counted: %s", error.message)
        for path, profile in tables.items():
            if "rows" in profile:
                rows.setdefault(_suffix(path), []).append(profile["rows"])
        found = []
        for suffix, some in sizes.items():
            kind = kind_of(f"x{suffix}")
            counted = rows.get(suffix, [])
            uncounted = len(some) - len(counted) if format_of(f"x{suffix}") else 0
            known = sum(counted) if counted else None
            found.append(
                FilesOfKind(suffix, kind.name if kind else None, len(some), sum(some), known, uncounted)
            )
        return sorted(found, key=lambda each: (-each.size, each.suffix))

    def _files(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield the path, size and digest of each file."""
        for leaf in self.tree.leaves():
            for number, path in enumerate(leaf.paths):
                if digest := leaf.file_digest(number):
                    yield path, leaf.sizes[number], digest

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

        table = _Table(self, path)
        profile = table.profile()
        columns = [Column(*map(each.get, Column._fields)) for each in profile.get("columns", ())]
        problem = profile.get("problem")
        if "columns" not in profile or "partial" in profile or not all(each.type for each in columns):
            columns, problem = table.ask(columns_of)
        table.warn(problem)
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

        table = _Table(self, path)
        profile = table.profile()
        if not profile.get("full"):
            profile = table.ask(full)
        if "statistics" not in profile:
            reason = profile.get("problem", "its profile has none")
            raise InvalidInput(f"'{table.name}' in {self.ref} has no statistics: {reason}.")
        table.warn(profile.get("problem"))
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
        table = _Table(self, path)
        found, problem = table.ask(lambda source: first_rows(source, n))
        table.warn(problem)
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
        return _Table(self, path).ask(lambda source: all_rows(source, wanted))

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


def _suffix(path: str) -> str:
    base = path.rpartition("/")[2].lower()
    stem, dot, last = base.rpartition(".")
    if not stem or len(last) > _SUFFIX:
        return ""
    return _suffix(stem) + dot + last if dot + last in _PACKED else dot + last


class _Table:
    """A table of a version, as a source of profiles (`dataver.profiles.kinds.Source`)."""

    sampled = True

    def __init__(self, version: TableReading, path: str | os.PathLike[str]) -> None:
        version._published()  # the error of a version that is not uploaded says nothing of tables
        self._version, self._entry = version, version.entry(path)
        self.name, self.size = self._entry.path, self._entry.size
        if format_of(self.name) is None:
            raise InvalidInput(
                f"'{self.name}' in {version.ref} is not a table by its suffix.",
                hint="tables are .csv, .tsv, .jsonl, .ndjson, .parquet, .arrow and .feather files",
            )

    def open(self) -> BinaryIO:
        return cast("BinaryIO", self._version.open(self.name))

    def path(self) -> Path:
        return self._version.path(self.name)

    def profile(self) -> dict[str, Any]:
        """Return its profile in the repository; empty if it has none."""
        wanted = {self._entry.digest}
        dataset = self._version._published().record.dataset
        try:
            lines = self._version._repository.profiles.find(dataset, "tables", wanted)
        except StoreError as error:
            log_info("the profile of %s is not used: %s", self.name, error.message)
            return {}
        return decode_profile(lines[self._entry.digest]) if lines else {}

    def ask(self, read: Callable[[Source], T]) -> T:
        """Return the result of a function of it.

        Raises:
            InvalidInput: it cannot be read as a table; or `dataver[tables]` is not installed.
        """
        require_extra("tables", "reading a table")
        import pyarrow as pa

        where = f"'{self.name}' in {self._version.ref}"
        try:
            return read(self)
        except InvalidInput as error:
            problem = error.message.rstrip(".")
            raise InvalidInput(f"{where} cannot be read as a table: {problem}.", hint=error.hint) from error
        except DataverError:
            raise
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise InvalidInput(f"{where} is damaged: {str(error).rstrip('.')}.") from error

    def warn(self, problem: str | None) -> None:
        """Warn the caller of the public method of what was left out."""
        if problem:
            warnings.warn(f"'{self.name}' in {self._version.ref}: {problem.rstrip('.')}.", stacklevel=3)
