"""Table files in DuckDB: CSV, TSV, JSON lines, Parquet and Arrow, by their suffix.

    with connect(path, memory=1 << 30) as db:
        rows = db.execute(f"SELECT count(*) FROM {scan(db, path)}").fetchone()

The idea: this is the only module that opens a table, so that its limits hold everywhere:

1. Memory is limited; what exceeds it goes to a folder of this process in the cache, which the next process
   removes if this one is killed.
2. A connection reads the files it was opened with and no others. It loads no extension and uses no network.
3. File names are literal: `*` and `[` in a name match themselves.

Needs `dataver[tables]`.
"""

from __future__ import annotations

import glob
import re
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from dataver import parallel
from dataver.extras import require_extra
from dataver.machine.cache_root import private_cache_root
from dataver.machine.locked_folder import LockedFolder

# Imports in functions: DuckDB and pyarrow are optional.

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

__all__ = ["MEMORY", "connect", "format_of", "quoted", "scan"]

MEMORY: Final = 1 << 30
"""Memory of a connection, in bytes, unless the caller chooses another limit."""

_LONGEST: Final = 16 << 20  # bytes of a line of CSV or an object of JSON lines
_REJECTS: Final = 1000  # lines left out that are recorded
_FORMATS: Final = {
    "csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "pq": "parquet",
    "arrow": "arrow", "feather": "arrow", "ipc": "arrow", "arrows": "arrow",
}  # fmt: skip
_COMPRESSED: Final = re.compile(r"\.(gz|zst)$")


def format_of(name: str) -> str | None:
    """Return the format of a table file by its suffix: csv, tsv, jsonl, parquet or arrow; None for others.

    Text formats may be compressed (`.csv.gz`, `.jsonl.zst`).
    """
    plain = _COMPRESSED.sub("", name.lower())
    found = _FORMATS.get(PurePath(plain).suffix[1:])
    return None if found in ("parquet", "arrow") and plain != name.lower() else found


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
            db.execute("SET enable_progress_bar = false")
            yield db
    finally:
        folder.remove()


def scan(db: DuckDBPyConnection, path: Path, *, name: str | None = None, lenient: bool = False) -> str:
    """Return the SQL table expression of a file, for use after FROM.

    Args:
        db: a connection that was opened with the path.
        path: a local file.
        name: the name whose suffix gives the format; by default the path's.
        lenient: leave out lines of a text format that do not fit the others, and find the columns' types
            from all lines. Lines of CSV that were left out are in the table `reject_errors` afterwards.

    Raises:
        ValueError: the suffix is not that of a table.
        pyarrow.ArrowInvalid: an Arrow file is damaged. Other formats fail when they are read.
    """
    name = name or path.name
    found = format_of(name)
    if found == "arrow":
        view = f"arrow_{len(db.execute('SHOW TABLES').fetchall())}"
        db.register(view, _arrow(path))
        return view
    place = quoted(_literal(path))
    if found == "parquet":
        return f"read_parquet({place})"
    more = ["sample_size = -1", "ignore_errors = true"] if lenient else []
    suffix = _COMPRESSED.search(name.lower())
    packed = {"gz": "gzip", "zst": "zstd"}[suffix[1]] if suffix else "none"
    if found == "jsonl":
        options = ["format = 'newline_delimited'", f"maximum_object_size = {_LONGEST}", *more]
        return f"read_json({place}, compression = '{packed}', {', '.join(options)})"
    if found in ("csv", "tsv"):
        more += ["store_rejects = true", f"rejects_limit = {_REJECTS}"] if lenient else []
        options = [f"max_line_size = {_LONGEST}", *(["delim = '\t'"] if found == "tsv" else []), *more]
        return f"read_csv({place}, compression = '{packed}', {', '.join(options)})"
    raise ValueError(f"'{name}' does not have the suffix of a table")


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _literal(path: Path) -> str:
    """Return a pattern that matches one path."""
    return glob.escape(str(path))


def _arrow(path: Path) -> pa.dataset.Dataset | pa.Table:
    """Open an Arrow file, or an Arrow stream: what `datasets` stores; its columns are mapped, not read."""
    import pyarrow as pa
    from pyarrow import dataset

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    if is_file:
        return dataset.dataset(path, format="ipc")
    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
