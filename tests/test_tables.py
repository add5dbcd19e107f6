import contextlib
import gzip
import random

import pyarrow as pa
import pytest
import zstandard
from pyarrow import feather, parquet

from dataver import tables
from dataver.arrow_memory import unpacked_size
from dataver.errors import InvalidInput
from dataver.machine.cache_root import private_cache_root
from dataver.tables import connect, format_of, quoted, scan

ROWS = [(1, "a"), (2, None), (3, "c,d")]
TABLE = pa.table({"id": [row[0] for row in ROWS], "name": [row[1] for row in ROWS]})
CSV = b'id,name\n1,a\n2,\n3,"c,d"\n'
LINES = b'{"id": 1, "name": "a"}\n{"id": 2}\n{"id": 3, "name": "c,d"}\n'


def write(path, content):
    path.write_bytes(content)


def stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


MAKERS = {
    "t.csv": lambda path: write(path, CSV),
    "t.csv.gz": lambda path: write(path, gzip.compress(CSV)),
    "t.csv.zst": lambda path: write(path, zstandard.compress(CSV)),
    "t.tsv": lambda path: write(path, b"id\tname\n1\ta\n2\t\n3\tc,d\n"),
    "t.jsonl": lambda path: write(path, LINES),
    "t.ndjson": lambda path: write(path, LINES),
    "t.jsonl.gz": lambda path: write(path, gzip.compress(LINES)),
    "t.jsonl.zst": lambda path: write(path, zstandard.compress(LINES)),
    "t.parquet": lambda path: parquet.write_table(TABLE, path),
    "t.feather": lambda path: feather.write_feather(TABLE, path),
    "t.arrow": lambda path: stream(TABLE, path),
    "T [1]*'.CSV": lambda path: write(path, CSV),
}


def read(path, **options):
    with connect(path) as db:
        return db.execute(f"SELECT * FROM {scan(db, path, **options)}").fetchall()


@pytest.mark.parametrize("name", MAKERS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    path = tmp_path / name
    MAKERS[name](path)
    assert read(path) == ROWS


def test_the_format_of_a_name():
    names = ["a.CSV", "b/c.tsv.gz", "d.parquet", "e.parquet.gz", "f.txt", "csv", "g.ndjson.zst", "h.feather"]
    assert [format_of(name) for name in names] == [
        "csv", "tsv", "parquet", None, None, None, "jsonl", "arrow"
    ]  # fmt: skip


def test_two_arrow_files_in_one_connection(tmp_path):
    one, two = tmp_path / "1.arrow", tmp_path / "2.arrow"
    feather.write_feather(TABLE, one)
    feather.write_feather(TABLE.slice(0, 1), two)
    with connect(one, two) as db:
        names = [scan(db, path) for path in (one, two)]
        counts = [db.execute(f"SELECT count(*) FROM {name}").fetchone() for name in names]
    assert counts == [(3,), (1,)]


def compressed(folder, table, *, stream=False, rows=None):
    """Write Arrow of zeros, which compress to little; return its path."""
    path = folder / "t.arrow"
    opened = pa.ipc.new_stream if stream else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with opened(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows or len(table))
    return path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_arrow_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch, stream, labels):
    """Before any of it is unpacked; 8 MB of values or of a dictionary in some KB."""
    column = pa.array([0] * 1_000_000, pa.int64())
    if labels:
        column = pa.DictionaryArray.from_arrays(pa.array([0] * 10, pa.int32()), column)
    path = compressed(tmp_path, pa.table({"a": column}), stream=stream)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(tables, "MEMORY", 8_000_000 + 64)
    assert len(read(path)) == len(column)
    monkeypatch.setattr(tables, "MEMORY", 7_000_000)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(InvalidInput, match="compressed columns take 7 MiB, more than 6 MiB"):
        read(path)
    assert pa.default_memory_pool().max_memory() == before


def test_compressed_arrow_larger_than_the_memory_is_read_in_batches(tmp_path, monkeypatch):
    path = compressed(tmp_path, pa.table({"a": range(200_000), "b": ["x"] * 200_000}), rows=10_000)
    monkeypatch.setattr(tables, "MEMORY", 1_000_000)
    with connect(path) as db:
        name = scan(db, path)
        for _ in range(2):
            assert db.execute(f"SELECT sum(a), count(b) FROM {name}").fetchall() == [(19999900000, 200_000)]


def test_damaged_compressed_arrow_fails_with_an_error_of_its_own(tmp_path):
    path = compressed(tmp_path, pa.table({"a": range(1000), "b": ["x"] * 1000}), rows=100)
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(InvalidInput, pa.ArrowInvalid, OSError), pa.memory_map(str(path)) as source:
            unpacked_size(source, stream=False)


def test_a_name_is_not_a_pattern(tmp_path):
    for name in ("a*.csv", "ab.csv"):
        write(tmp_path / name, b"x\n1\n")
    assert read(tmp_path / "a*.csv") == [(1,)]


@pytest.mark.parametrize("name", [name for name in MAKERS if "zst" not in name])
def test_the_name_of_a_folder_is_not_a_column(name, tmp_path):
    """Not even where `split=train` looks like a partition."""
    path = tmp_path / "split=train" / name
    path.parent.mkdir()
    MAKERS[name](path)
    assert read(path) == read(path, lenient=True) == ROWS


def test_one_long_line_does_not_hide_the_lines_before_it(tmp_path):
    path = tmp_path / "a.csv"
    write(path, b"id,v\n" + b"1,2\n" * 1000 + b"1,2,3\n")
    with connect(path) as db:
        count = tables.read(db, path, lambda name: db.execute(f"SELECT count(*) FROM {name}").fetchall())
    assert count == ([(1000,)], "1 line was left out, first line 1002: too many columns")


def test_other_files_cannot_be_read(tmp_path):
    import duckdb

    mine, other = tmp_path / "mine.csv", tmp_path / "other.csv"
    for path in (mine, other):
        write(path, CSV)
    with connect(mine) as db:
        with pytest.raises(duckdb.PermissionException):
            db.execute(f"SELECT * FROM read_csv({quoted(str(other))})").fetchall()
        with pytest.raises(duckdb.Error):
            db.execute("SET enable_external_access = true")


def test_lenient_leaves_out_lines_that_do_not_fit(tmp_path):
    path = tmp_path / "ragged.csv"
    write(path, b"a,b\n1,2\n3,4,5\n6\n7,8\n")
    with connect(path) as db:
        rows = db.execute(f"SELECT * FROM {scan(db, path, lenient=True)}").fetchall()
        rejected = db.execute("SELECT line FROM reject_errors ORDER BY line").fetchall()
    assert rows == [(1, 2), (7, 8)]
    assert rejected == [(3,), (4,)]


def test_more_rows_than_memory_are_sorted_on_the_disk_and_nothing_is_left(tmp_path):
    with connect(memory=64 << 20) as db:
        db.execute("CREATE TABLE t AS SELECT range a, hash(range) b FROM range(6000000)")
        found = db.execute("SELECT a FROM (SELECT * FROM t ORDER BY b, a OFFSET 3000000) LIMIT 1").fetchone()
        assert found is not None
    assert list((private_cache_root() / "tables").iterdir()) == []
