"""Profiles of tables: kinds, columns, hostile files, limits."""

import gzip
import json
import os
import random
import resource
import signal
import threading
import warnings
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from dataver import tables as opened
from dataver.formats.profile import encode_profile
from dataver.profiles import tables as profiles
from dataver.profiles.kinds import kind_of, make_profile
from dataver.profiles.table_heads import class_labels

TABLE = pa.table({"id": [1, 2, 3], "price": [0.5, None, 2.5], "name": ["a", "b", "c"]})
COLUMNS = [("id", "int64", True), ("price", "double", True), ("name", "string", True)]


class File:
    sampled = True

    def __init__(self, path):
        self._path = Path(path)
        self.name, self.size = self._path.name, self._path.stat().st_size

    def open(self):
        return self._path.open("rb")

    def path(self):
        return self._path


def profile(path, *, full=True):
    found = make_profile(kind_of(Path(path).name), File(path), full=full)
    encode_profile(found)  # it can be stored
    return found


def columns(found):
    return [(each["name"], each["type"], each["nullable"]) for each in found["columns"]]


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


CSV = b"id,price,name\n1,0.5,a\n2,,b\n3,2.5,c\n"
LINES = (
    b'{"id": 1, "price": 0.5, "name": "a"}\n{"id": 2, "name": "b"}\n{"id": 3, "price": 2.5, "name": "c"}\n'
)


@pytest.fixture(params=["csv", "csv.gz", "csv;", "tsv", "jsonl", "parquet", "feather"])
def table(request, tmp_path):
    kind = request.param
    path = tmp_path / f"t.{kind.rstrip(';')}"
    if kind == "parquet":
        parquet.write_table(TABLE, path)
    elif kind == "feather":
        feather.write_feather(TABLE, path)
    else:
        content = LINES if kind == "jsonl" else CSV
        content = content.replace(b",", {"tsv": b"\t", "csv;": b";"}.get(kind, b","))
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    return path


def test_a_cheap_profile_has_the_columns(table):
    found = profile(table, full=False)
    assert (found["kind"], found["full"], columns(found)) == ("table", False, COLUMNS)
    assert found.get("rows") == (3 if table.suffix == ".parquet" else None)


def test_a_full_profile_has_columns_rows_statistics_and_a_sample(table):
    found = profile(table)
    assert (found["full"], columns(found), found["rows"]) == (True, COLUMNS, 3)
    assert {"problem", "partial"}.isdisjoint(found)
    document = found["statistics"]
    assert (document["num_examples"], document["partial"]) == (3, False)
    price = document["statistics"][1]
    assert (price["column_name"], price["column_type"]) == ("price", "float")
    assert price["column_statistics"]["nan_count"] == 1
    assert found["sample"][1] == {
        "row_idx": 1, "row": {"id": 2, "price": None, "name": "b"}, "truncated_cells": []
    }  # fmt: skip


RAGGED = b"a,b,c\n" + b"1,x,2\n" * 1000 + b"1,2\n1,2,3,4,5\n" + b"7,x,8\n"
MIXED = "a,b\n1,é\n".encode() * 10 + "3,é\n".encode("latin-1")
PARQUET_NOISE = b"PAR1" + random.Random(0).randbytes(1000) + b"\xff\xff\xff\x7fPAR1"


@pytest.mark.parametrize(
    ("name", "content", "rows", "problem"),
    [
        ("ragged.csv", RAGGED, 1001, "2 lines were left out, first line 1002: missing columns"),
        ("mixed.csv", MIXED, 20, "its bytes are not UTF-8; they were read as Latin-1"),
        ("empty.csv", b"", None, "it is empty"),
        ("noise.csv", random.Random(1).randbytes(200_000), None, "no delimiter and quotes fit its lines"),
        ("long.csv", b"a,b\n" + b"0" * (3 << 20), None, "a line is longer than 1 MiB"),
        (
            "end.csv",
            b"a,b\n" + b"1,2\n" * 900_000 + b"x" * (3 << 20),
            900_000,
            "its last line is longer than 1 MiB",
        ),
        ("cut.csv.gz", gzip.compress(RAGGED)[:50], None, "Unexpected end of GZIP stream"),
        ("bad.jsonl", b'{"a":1}\n{"a":\n{"a":3}\n', 3, "Malformed JSON"),
        ("deep.jsonl", b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}\n", None, "recursion depth"),
        ("noise.parquet", PARQUET_NOISE, None, "Parquet file size is"),
        ("cut.parquet", b"PAR1", None, "Parquet file size is 4 bytes"),
        ("noise.arrow", b"ARROW1" + random.Random(2).randbytes(1000), None, "Not an Arrow file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_file_has_a_profile_with_a_clear_word(tmp_path, monkeypatch, name, content, rows, problem):
    monkeypatch.setattr(opened, "LONGEST", 1 << 20)
    found = profile(written(tmp_path, name, content))
    assert problem in found["problem"]
    assert str(tmp_path) not in found["problem"]
    assert found.get("rows") == rows


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("late.csv", b"a\n" + b"1\n" * 60_000 + b"x\n", 60_001),
        ("twice.csv", b"a,a,\n1,2,3\n", 1),
        ("utf16.csv", "name,v\nMüller,1\n".encode("utf-16"), 1),
        ("nul.csv", b"a,b\n1,\0x\n2,y\n", 2),
        ("header.csv", b"a,b\n", 0),
    ],
)
def test_an_odd_file_is_read_whole(tmp_path, name, content, rows):
    found = profile(written(tmp_path, name, content))
    assert ("problem" in found, found["rows"]) == (False, rows)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("nul.csv", b"a,b\n1,\0\n", "NUL bytes"),
        ("long.csv", b"x" * 70_000, "longer than 64 KiB"),
        ("list.jsonl", b"[1]\n", "not JSON objects"),
    ],
)
def test_a_cheap_profile_of_a_hostile_file_says_why(tmp_path, name, content, problem):
    assert problem in profile(written(tmp_path, name, content), full=False)["problem"]


def test_without_a_header_columns_are_numbered_in_both_profiles(tmp_path):
    path = written(tmp_path, "t.csv", b"1,2\n3,4\n")
    names = [[each["name"] for each in profile(path, full=full)["columns"]] for full in (False, True)]
    assert names == [["column0", "column1"]] * 2


def test_a_parquet_file_with_damaged_pages_keeps_a_clear_word(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"s": [str(at) for at in range(50_000)]}), path)
    data = bytearray(path.read_bytes())
    data[1000:100_000] = bytes(99_000)
    path.write_bytes(data)
    found = profile(path)
    assert "t.parquet" in found["problem"]
    assert (columns(found), found["rows"], found["full"]) == ([("s", "string", True)], 50_000, True)
    assert profile(path, full=False)["rows"] == 50_000


@pytest.mark.slow
def test_10_000_columns_are_bounded_and_partial(tmp_path):
    lines = [",".join(f"c{at}" for at in range(10_000)), *[",".join(map(str, range(10_000)))] * 3]
    path = written(tmp_path, "wide.csv", "\n".join(lines).encode())
    found = profile(path)
    assert "1,000 of 10,000 columns have statistics" in found["partial"]
    assert found["statistics"]["partial"] is True
    assert len(found["statistics"]["statistics"]) == 1000
    assert 1000 < len(found["columns"]) < 10_000
    assert "of 10,000 columns are listed" in profile(path, full=False)["partial"]


def test_columns_beyond_the_limit_have_no_statistics(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "_COLUMNS", 2)
    found = profile(written(tmp_path, "t.csv", CSV))
    assert found["partial"] == "2 of 3 columns have statistics"
    assert (len(found["columns"]), found["statistics"]["partial"]) == (3, True)


@pytest.mark.slow
def test_a_line_of_1_gb_takes_little_memory(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(b"x" * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "a line is longer than 4 MiB" in profile(path)["problem"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10


def test_long_cells_of_the_sample_are_cut_and_named(tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table(
        {"text": ["x" * 5000, "y"], "blob": [b"\0" * 100, None], "list": [[1, 2], list(range(999))]}
    )
    parquet.write_table(table, path)
    first, second = profile(path)["sample"]
    assert first["row"] == {"text": "x" * 1000, "blob": "<100 bytes>", "list": "[1,2]"}
    assert (first["truncated_cells"], second["truncated_cells"]) == (["text"], ["list"])


def test_a_table_beyond_the_limit_is_read_in_part_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "_BYTES", 100_000)
    path = written(tmp_path, "t.csv", b"a\n" + b"".join(b"%d\n" % at for at in range(50_000)))
    found = profile(path)
    assert 0 < found["rows"] < 50_000
    assert found["statistics"]["partial"] is True
    assert found["partial"] == f"the first {found['rows']:,} rows were read"
    assert found["statistics"]["statistics"][0]["column_statistics"]["max"] == found["rows"] - 1


def test_class_labels_of_datasets_have_their_names(tmp_path):
    """As `datasets.Dataset.to_parquet` writes them; other metadata of that name changes nothing."""
    path = tmp_path / "t.parquet"
    feature = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    for features, kind in (({"label": feature}, "class_label"), ({"label": 7}, "int"), ([], "int")):
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        parquet.write_table(pa.table({"label": [0, 1, 1, -1]}).replace_schema_metadata(metadata), path)
        (found,) = profile(path)["statistics"]["statistics"]
        assert found["column_type"] == kind
    assert class_labels(pa.schema([("label", pa.int64())], {"huggingface": "{"})) == {}


@pytest.mark.parametrize(
    ("column", "metadata"),
    [
        (pa.array([-(2**63), 1]), None),
        (pa.array([2**31 - 2, 0], pa.int32()).cast(pa.date32()), None),
        (pa.array(["x", "y"]), {"_type": "ClassLabel", "names": ["x", "y"]}),
        (pa.array([0.5, 1.5]), {"_type": "ClassLabel", "names": ["x", "y"]}),
        (pa.array([True, False]), {"_type": "ClassLabel", "names": ["x"]}),
    ],
    ids=["least", "date", "label", "float", "bool"],
)
def test_an_odd_value_costs_no_column_its_statistics(tmp_path, column, metadata):
    path = tmp_path / "t.parquet"
    table = pa.table({"odd": column, "b": [1, 2]})
    if metadata:
        features = {"info": {"features": {"odd": metadata}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, path)
    found = profile(path)
    assert "problem" not in found
    assert [each["column_name"] for each in found["statistics"]["statistics"]] == ["odd", "b"]


def test_what_cannot_be_measured_keeps_its_columns(tmp_path):
    """Search, the schema and Croissant need them, and a full profile replaces the cheap one."""
    path = tmp_path / "t.parquet"
    times = pa.array([2**62, 0], pa.int64()).cast(pa.timestamp("ms"))  # beyond DuckDB's
    parquet.write_table(pa.table({"at": times}), path)
    found = profile(path)
    assert "Could not convert" in found["problem"]
    assert (columns(found), found["rows"]) == ([("at", "timestamp[ms]", True)], 2)


def test_a_fork_while_another_thread_profiles_does_not_wait_for_it(tmp_path, monkeypatch):
    path = written(tmp_path, "t.csv", CSV)
    inside, leave = threading.Event(), threading.Event()
    profiled = profiles._profile

    def slow(*arguments):
        if os.getpid() == parent:
            inside.set()
            leave.wait(30)
        return profiled(*arguments)

    parent = os.getpid()
    monkeypatch.setattr(profiles, "_profile", slow)
    other = threading.Thread(target=profile, args=(path,))
    other.start()
    assert inside.wait(30)
    with warnings.catch_warnings(action="ignore"):  # newer Pythons warn of threads
        child = os.fork()
    if not child:
        signal.alarm(8)  # ends it if it hangs
        os._exit(0 if profile(path)["rows"] == 3 else 1)
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        leave.set()
        other.join()


def test_a_footer_that_lies_about_its_rows_is_named(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    parquet.write_table(TABLE, path)
    read = profiles.binary_schema
    monkeypatch.setattr(profiles, "binary_schema", lambda file, source: (read(file, source)[0], 10**12))
    assert profile(path)["problem"] == "its footer says 1,000,000,000,000 rows"
    assert profile(path)["rows"] == 3


@pytest.mark.slow
def test_more_values_than_memory_go_to_the_disk(tmp_path, monkeypatch):
    """Statistics are the same with 64 MiB, of values that take more."""
    path = tmp_path / "t.parquet"
    columns = {
        f"c{at}": [(number * (at + 7919)) % 1_000_003 for number in range(150_000)] for at in range(40)
    }
    parquet.write_table(pa.table(columns), path)
    wanted = profile(path)["statistics"]
    monkeypatch.setattr(opened, "MEMORY", 64 << 20)
    monkeypatch.setattr(opened, "connect", partial(opened.connect, memory=64 << 20))
    assert profile(path)["statistics"] == wanted
