"""Table files in DuckDB: CSV, TSV, JSON lines, Parquet and Arrow, by their suffix.

    with connect(path, memory=1 << 30) as db:
        rows = db.execute(f"SELECT count(*) FROM {scan(db, path)}").fetchone()

The idea: this is the only module that opens a table, so that its limits hold everywhere:

1. Memory is limited; what exceeds it goes to a folder of this process in the cache, which the next process
   removes if this one is killed. Compressed columns of Arrow, which pyarrow unpacks, have a limit as large.
2. A connection reads the files it was opened with and no others. It loads no extension and uses no network.
3. File names are literal: `*` and `[` in a name match themselves, and a folder `split=train` is no column.

Needs `dataver[tables]`.
"""

from __future__ import annotations

import glob
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dataver import parallel
from dataver.arrow_memory import unpacked_size
from dataver.errors import InvalidInput
from dataver.extras import require_extra
from dataver.machine.cache_root import private_cache_root
from dataver.machine.locked_folder import LockedFolder

# Imports in functions: DuckDB and pyarrow are optional.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

__all__ = [
    "LONGEST", "MEMORY", "SUFFIXES", "connect", "first_problem", "first_row", "format_of", "quoted",
    "quoted_name", "read", "scan",
]  # fmt: skip

MEMORY: Final = 1 << 30
"""Memory of a connection, in bytes, unless the caller chooses another limit."""

LONGEST: Final = 4 << 20
"""Bytes of the longest line of CSV that is read: a larger limit makes larger buffers."""

T = TypeVar("T")
_REJECTS: Final = 1000  # lines left out that are recorded
_WORDS: Final = 300  # characters of a problem
_FORMATS: Final = {
    "csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "pq": "parquet",
    "arrow": "arrow", "feather": "arrow", "ipc": "arrow", "arrows": "arrow",
}  # fmt: skip
SUFFIXES: Final = " ".join(
    f".{name}{packed}"
    for name, format_ in _FORMATS.items()
    for packed in (("",) if format_ in ("parquet", "arrow") else ("", ".gz", ".zst"))
)
"""The suffixes of table files, separated by spaces."""

_AROUND: Final = re.compile(r"Invalid Input Error: CSV Error on|Original Line|LINE \d|[ ^]*$")  # of a reason
_CLASS: Final = re.compile(r"^[A-Z]\w+( \w+)? Error: ")
_COMPRESSED: Final = re.compile(r"\.(gz|zst)$")


def format_of(name: str) -> str | None:
    """Return the format of a table file by its suffix: csv, tsv, jsonl, parquet or arrow; None for others.

    Text formats may be compressed (`.csv.gz`, `.jsonl.zst`).
    """
    lowered = name.rpartition("/")[2].lower()
    plain = _COMPRESSED.sub("", lowered)
    stem, _, suffix = plain.rpartition(".")
    found = _FORMATS.get(suffix) if stem else None
    return None if found in ("parquet", "arrow") and plain != lowered else found


@contextmanager
def connect(*paths: Path, memory: int = MEMORY) -> Iterator[DuckDBPyConnection]:
    """Open a DuckDB database of this process that can read some files; it is deleted at the end.

    Args:
        paths: local files that it may read.
        memory: limit in bytes; DuckDB may exceed it a little.

    Raises:
        InvalidInput: a package of the extra is not installed.
    """
    require_extra("tables", "reading a table")
    import duckdb

    folder = LockedFolder(private_cache_root() / "tables")
    try:
        config: dict[str, Any] = {
            "memory_limit": f"{memory}B",
            "threads": parallel.cores(),
            "temp_directory": str(folder.path),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        }
        with duckdb.connect(folder.path / "tables.duckdb", config=config) as db:
            names = {text for path in paths for text in (str(path.resolve()), str(path), _literal(path))}
            db.execute(f"SET allowed_paths = [{', '.join(map(quoted, sorted(names)))}]")
            db.execute("SET enable_external_access = false")
            db.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
            yield db
    finally:
        folder.remove()


def scan(
    db: DuckDBPyConnection,
    path: Path,
    *,
    name: str | None = None,
    lenient: bool = False,
    encoding: str = "utf-8",
) -> str:
    """Return the SQL table expression of a file, for use after FROM.

    Args:
        db: a connection that was opened with the path.
        path: a local file.
        name: the name whose suffix gives the format; by default the path's.
        lenient: leave out lines of a text format that do not fit the others, and find the columns' types
            from all lines. Lines of CSV that were left out are in the table `reject_errors` afterwards.
        encoding: of CSV: utf-8, utf-16 or latin-1.

    Raises:
        ValueError: the suffix is not that of a table.
        InvalidInput: the columns of an Arrow file take too much memory.
        pyarrow.ArrowInvalid, OSError: an Arrow file is damaged. Other formats fail when they are read.
    """
    name = name or path.name
    found = format_of(name)
    if found == "arrow":
        view = f"arrow_{len(db.execute('SHOW TABLES').fetchall())}"
        db.register(view, _arrow(path))
        return view
    place = quoted(_literal(path))
    if found == "parquet":
        return f"read_parquet({place}, hive_partitioning = false)"
    suffix = _COMPRESSED.search(name.lower())
    packed = {"gz": "gzip", "zst": "zstd"}[suffix[1]] if suffix else "none"
    options = ["hive_partitioning = false", f"compression = '{packed}'"]
    options += ["sample_size = -1", "ignore_errors = true"] if lenient else []
    if found == "jsonl":
        return f"read_json({place}, format = 'newline_delimited', {', '.join(options)})"
    if found in ("csv", "tsv"):  # skip: one long line would make DuckDB leave out all lines before it
        options += ["skip = 0", f"encoding = '{encoding}'", f"max_line_size = {LONGEST}"]
        options += [f"buffer_size = {2 * LONGEST}"]
        options += ["store_rejects = true", f"rejects_limit = {_REJECTS}"] if lenient else []
        options += ["delim = '\t'"] if found == "tsv" else []
        return f"read_csv({place}, {', '.join(options)})"
    raise ValueError(f"'{name}' does not have the suffix of a table")


def read(
    db: DuckDBPyConnection, path: Path, use: Callable[[str], T], *, name: str | None = None
) -> tuple[T, str | None]:
    """Call a function with the table expression of a file; with a lenient one if the file is irregular.

    Args:
        db: a connection that was opened with the path.
        path: a local file.
        use: executes its statements with the expression; it is called again after a `duckdb.Error`.
        name: as of `scan`.

    Returns:
        The function's result, and what is irregular: lines left out, an encoding that is not UTF-8; or None.

    Raises:
        InvalidInput: the file cannot be read in any way.
    """
    import duckdb
    import pyarrow as pa

    name = name or path.name
    found, encoding = format_of(name), "utf-8"
    if found == "csv" and not _COMPRESSED.search(name.lower()):
        with path.open("rb") as file:
            encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else encoding
    try:
        first = scan(db, path, name=name, encoding=encoding)
        if found == "csv" and _unparted(db.execute(f"DESCRIBE SELECT * FROM {first}").fetchall()):
            problem = "its lines have different numbers of columns"
        else:
            return use(first), _lost_end(path) if found in ("csv", "tsv") else None
    except (duckdb.Error, pa.ArrowInvalid, OSError) as error:
        problem = first_problem(error, path, name)
        if found not in ("csv", "tsv", "jsonl"):
            raise InvalidInput(problem) from error
    if "unicode" in problem:
        encoding, problem = "latin-1", "its bytes are not UTF-8; they were read as Latin-1"
    try:
        result = use(scan(db, path, name=name, lenient=True, encoding=encoding))
    except duckdb.Error as error:
        raise InvalidInput(first_problem(error, path, name)) from error
    if found == "jsonl" or encoding == "latin-1":
        return result, problem
    return result, _left_out(db) or _lost_end(path)


def first_problem(error: Exception, path: Path, name: str) -> str:
    """Return the sentence of an error of DuckDB or Arrow that names the problem, without its advice."""
    text = str(error).replace(str(path), name)
    if "Error when sniffing file" in text:
        return "no delimiter and quotes fit its lines"
    if "Maximum line size" in text or "Parallel CSV Reader" in text:
        return f"a line is longer than {LONGEST >> 20} MiB, or a quote is not closed"
    line = re.search(r"CSV Error on Line: (\d+)", text)
    lines = [each for each in text.split("\n") if each and not _AROUND.match(each)]
    first = _CLASS.sub("", lines[0] if lines else text).strip()[:_WORDS]
    return f"line {line[1]}: {first}" if line else first


def _lost_end(path: Path) -> str | None:
    """Return that the last line of CSV is too long: DuckDB leaves out such a line without an error."""
    with path.open("rb") as file:
        file.seek(-min(LONGEST, path.stat().st_size), os.SEEK_END)
        end = file.read()
    if len(end) < LONGEST or b"\n" in end[:-1]:
        return None
    return f"its last line is longer than {LONGEST >> 20} MiB and was left out"


def _unparted(columns: list[tuple[str, ...]]) -> bool:
    """Return whether CSV was read as one column although its header has delimiters: DuckDB's last resort."""
    return len(columns) == 1 and re.search(r"[,;\t|]", columns[0][0]) is not None


def _left_out(db: DuckDBPyConnection) -> str | None:
    """Return what is wrong with the lines that a lenient scan of CSV left out; None if it left out none."""
    if not db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchall():
        return None
    query = "SELECT count(DISTINCT line), min(line), arg_min(error_type::VARCHAR, line) FROM reject_errors"
    count, line, kind = db.execute(query).fetchall()[0]
    if not count:
        return None
    number = f"at least {_REJECTS:,}" if count >= _REJECTS else f"{count:,}"
    return f"{number} {'lines were' if count > 1 else 'line was'} left out, first line {line}: {kind.lower()}"


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(text: str) -> str:
    """Return a text as a name of SQL."""
    return '"' + text.replace('"', '""') + '"'


def first_row(db: DuckDBPyConnection, query: str, values: object = None) -> tuple[Any, ...]:
    """Return the first row of a query, all rows of which are read."""
    found: list[tuple[Any, ...]] = db.execute(query, values).fetchall()
    return found[0]


def _literal(path: Path) -> str:
    """Return a pattern that matches one path."""
    return glob.escape(str(path))


def _arrow(path: Path) -> pa.dataset.Dataset | pa.dataset.Scanner | pa.Table:
    """Open an Arrow file, or an Arrow stream: what `datasets` stores; its columns are mapped, not read.

    Raises:
        InvalidInput: they are compressed, and take more than `MEMORY`.
    """
    import pyarrow as pa
    from pyarrow import dataset

    source = pa.memory_map(str(path))
    stream = source.read(6) != b"ARROW1"
    size = unpacked_size(source, stream=stream)
    if size > MEMORY:
        raise InvalidInput(f"its compressed columns take {size >> 20:,} MiB, more than {MEMORY >> 20:,} MiB")
    if stream:
        source.seek(0)
        table = pa.ipc.open_stream(source).read_all()
        table.validate(full=True)
        return table
    batches = pa.ipc.open_file(source)
    for number in range(batches.num_record_batches):  # readers trust offsets and lengths
        batches.get_batch(number).validate(full=True)
    found = dataset.dataset(path, format="ipc")
    return found.scanner(batch_readahead=1) if size else found  # it would read 20 batches ahead
