"""Tables are compared by key or as whole rows, and each answer is that of a plain Python model."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from differ import Differ
from pyarrow import csv, feather, parquet

import dataver
from dataver.diffs import BytesDiff, File, TableDiff, compare_tables

Row = dict[str, Any]


def text(content: str) -> Callable[[Path], object]:
    """Return a function that writes a text."""
    return lambda path: path.write_text(content)


def as_file(path: Path) -> File:
    """Return a local file as one of a version."""
    return File(path.name, "d@1.0.0", path.stat().st_size, lambda: path)


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TableDiff]:
    """Compare two lists of rows, written as Parquet, or two texts of CSV."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))

    def compare(old: list[Row] | pa.Table | str, new: list[Row] | pa.Table | str, **more: Any) -> TableDiff:
        files = []
        for number, rows in enumerate((old, new)):
            path = tmp_path / f"{number}.{'csv' if isinstance(rows, str) else 'parquet'}"
            if isinstance(rows, str):
                path.write_text(rows)
            else:
                parquet.write_table(pa.Table.from_pylist(rows) if isinstance(rows, list) else rows, path)
            files.append(as_file(path))
        found = compare_tables(*files, **more)
        assert isinstance(found, TableDiff)
        return found

    return compare


WRITE = {
    "csv": csv.write_csv,
    "tsv": lambda table, path: csv.write_csv(table, path, csv.WriteOptions(delimiter="\t")),
    "jsonl": lambda table, path: path.write_text(
        "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    ),
    "parquet": parquet.write_table,
    "feather": feather.write_feather,
}


@pytest.mark.parametrize("suffix", WRITE)
def test_rows_of_every_format(differ: Differ, suffix: str) -> None:
    """Rows are matched by the column that is unique in both, in any order of rows and columns."""
    old = pa.table(
        {"id": [1, 2, 3, 4], "city": ["Oslo", "Rome", "Bonn", "Kyoto"], "price": [1.5, 2.5, 3.5, 4.5]}
    )
    new = pa.table(
        {"price": [5.5, 4.5, 9.5, 1.5], "id": [5, 4, 3, 1], "city": ["Lima", "Kyoto", "Bonn", "Pisa"]}
    )
    difference = differ(
        f"t.{suffix}", lambda path: WRITE[suffix](old, path), lambda path: WRITE[suffix](new, path)
    )
    with difference.table(f"t.{suffix}") as found:
        assert found.key == ("id",) and found.key_found
        assert found.rows == {"old": 4, "new": 4, "added": 1, "removed": 1, "changed": 2, "equal": 1}
        assert found.cells == {"price": 1, "city": 1}
        assert found.added().to_pylist() == [{"price": 5.5, "id": 5, "city": "Lima"}]
        assert found.removed().to_pylist() == [{"id": 2, "city": "Rome", "price": 2.5}]
        assert found.changed().select(
            ["id", "old.city", "new.city", "old.price", "new.price"]
        ).to_pylist() == [
            {"id": 1, "old.city": "Oslo", "new.city": "Pisa", "old.price": 1.5, "new.price": 1.5},
            {"id": 3, "old.city": "Bonn", "new.city": "Bonn", "old.price": 3.5, "new.price": 9.5},
        ]
        assert found.values()["changed"][1] == {
            "key": {"id": 3},
            "cells": {"price": {"old": 3.5, "new": 9.5}},
            "row": {"city": "Bonn"},
        }
        assert found.summary() == "2 rows changed, 1 added, 1 removed"
        assert found


def test_random_tables_against_a_model(compare: Callable[..., TableDiff]) -> None:
    """By key, and as whole rows: the counts and the rows are those of dictionaries and counters."""
    chance = random.Random(5)

    def rows() -> list[Row]:
        keys = chance.sample(range(60), 40)
        values: list[Any] = [None, math.nan, 1.0, 2.0]
        return [{"k": key, "v": chance.choice(values), "w": chance.choice(["a", "b", None])} for key in keys]

    def plain(row: Row) -> tuple[Any, ...]:
        return tuple(str(value) for value in row.values())

    for _ in range(5):
        old, new = rows(), rows()
        by_key = [{row["k"]: plain(row) for row in table} for table in (old, new)]
        common = by_key[0].keys() & by_key[1].keys()
        with compare(old, new, key="k") as found:
            assert found.rows["changed"] == sum(by_key[0][key] != by_key[1][key] for key in common)
            assert found.rows["added"] == len(by_key[1].keys() - common)
            assert [row["k"] for row in found.removed().to_pylist()] == sorted(by_key[0].keys() - common)
            assert found.cells["v"] == sum(by_key[0][key][1] != by_key[1][key][1] for key in common)
        for table in (old, new):
            for row in table:
                row["k"] %= 3  # many equal rows
        before, after = (Counter(map(plain, table)) for table in (old, new))
        with compare(old, new) as found:
            assert found.key == () and not found.key_found
            assert Counter(map(plain, found.added().to_pylist())) == after - before
            assert Counter(map(plain, found.removed().to_pylist())) == before - after
            assert found.rows["changed"] == 0


def test_null_and_nan_equal_themselves(compare: Callable[..., TableDiff]) -> None:
    """In values and in keys."""
    rows = [{"id": 1, "v": math.nan}, {"id": 2, "v": None}, {"id": None, "v": 3.0}]
    with compare(rows, rows[::-1], key="id") as found:
        assert not found
        assert found.rows["equal"] == 3
        assert found.summary() == "the same rows"


def test_values_are_json(compare: Callable[..., TableDiff]) -> None:
    """NaN and infinite numbers are text, also in nested values."""
    old, new = (
        [{"id": 1, "v": value, "list": {"a": [value], "x": math.nan}}] for value in (math.inf, math.nan)
    )
    with compare(old, new) as found:
        cells = json.loads(json.dumps(found.values(), allow_nan=False))["changed"][0]["cells"]
        assert cells["v"] == {"old": "inf", "new": "nan"}
        assert cells["list"]["new"] == {"a": ["nan"], "x": "nan"}


def test_columns_added_dropped_renamed_and_retyped(compare: Callable[..., TableDiff]) -> None:
    """A renamed column has equal content in the rows of both tables; rows do not change by it."""
    old = [{"id": n, "cost": n * 3 % 7, "gone": "x", "n": n, "t": f"{n}.50"} for n in range(20)]
    new = [{"id": n, "price": n * 3 % 7, "fresh": True, "n": float(n), "t": n + 0.5} for n in range(2, 25)]
    with compare(old, new) as found:
        assert found.columns_renamed == [("cost", "price")]
        assert found.columns_added == [("fresh", "bool")]
        assert found.columns_dropped == [("gone", "string")]
        assert found.columns_retyped == [("n", "int64", "double"), ("t", "string", "double")]
        assert (found.rows["changed"], found.rows["added"], found.rows["removed"]) == (0, 5, 2)
        assert found.values(0)["columns"]["renamed"] == [{"old": "cost", "new": "price"}]
    with compare(old, [{**row, "id": row["id"]} for row in old]) as found:
        assert not found
    with compare([{"a": 1}, {"a": 2}], [{"b": 2}, {"b": 1}]) as found:
        assert found.columns_renamed == [("a", "b")]  # also without a key
        assert found


def test_a_value_that_became_text_changes_the_type_and_one_row(compare: Callable[..., TableDiff]) -> None:
    """Numbers and the text of the same numbers are equal."""
    old = "id,price\n" + "".join(f"{n},{n}.50\n" for n in range(50))
    new = old.replace("\n7,7.50\n", "\n7,unknown\n")
    with compare(old, new) as found:
        assert found.columns_retyped == [("price", "double", "string")]
        assert found.rows["changed"] == 1
        assert found.values()["changed"] == [
            {"key": {"id": 7}, "cells": {"price": {"old": 7.5, "new": "unknown"}}, "row": {}}
        ]


def test_rows_with_a_repeated_key_are_whole_rows(compare: Callable[..., TableDiff]) -> None:
    """They are counted, and the others are still matched."""
    old = [{"id": 1, "v": 1}, {"id": 2, "v": 2}, {"id": 2, "v": 3}, {"id": 3, "v": 4}]
    new = [{"id": 1, "v": 9}, {"id": 2, "v": 3}, {"id": 2, "v": 5}, {"id": 3, "v": 4}]
    with compare(old, new, key="id") as found:
        assert found.repeated == {"old": 2, "new": 2}
        assert found.rows == {"old": 4, "new": 4, "added": 1, "removed": 1, "changed": 1, "equal": 2}
        assert found.added().to_pylist() == [{"id": 2, "v": 5}]
    with compare(old, new, key=["id", "v"]) as found:
        assert found.repeated == {"old": 0, "new": 0}
        assert found.key == ("id", "v") and not found.key_found
        assert (found.rows["added"], found.rows["removed"], found.rows["changed"]) == (2, 2, 0)


def test_a_column_like_an_id_is_the_key_before_others(compare: Callable[..., TableDiff]) -> None:
    """And a column of row numbers comes last; () compares whole rows."""
    rows = [{"Unnamed: 0": n, "name": f"n{n}", "user_id": n * 7} for n in range(30)]
    with compare(rows, rows[:-1]) as found:
        assert found.key == ("user_id",)
    short = [{key: row[key] for key in ("Unnamed: 0", "name")} for row in rows]
    with compare(short, short[:-1]) as found:
        assert found.key == ("name",)
    with compare(rows, rows[:-1], key=()) as found:
        assert found.key == ()
        assert found.rows["removed"] == 1


def test_nested_values_and_names_from_outside(compare: Callable[..., TableDiff]) -> None:
    """Lists and structures are compared, and no name of a column ends up in a statement."""
    name = "a\"; DROP TABLE changes; -- '\n"
    old = [{"id": n, name: n, "list": [n, None], "s": {"x": n}} for n in range(5)]
    new = [{**row, "list": [row["id"], 1]} if row["id"] == 2 else row for row in old]
    new[3] = {**new[3], name: 99, "s": {"x": -1}}
    with compare(old, new) as found:
        assert found.cells == {name: 1, "list": 1, "s": 1}
        assert found.changed().column_names[1:3] == [f"old.{name}", f"new.{name}"]


def test_the_drift_of_a_distribution(compare: Callable[..., TableDiff]) -> None:
    """The index follows its formula; the same distribution has about (B - 1) * (1/n + 1/m)."""
    chance = random.Random(3)

    def rows(mean: float, share: float) -> list[Row]:
        return [
            {"id": n, "x": chance.gauss(mean, 1), "c": "a" if chance.random() < share else "b", "same": n % 4}
            for n in range(2000)
        ]

    with compare(rows(0, 0.5), rows(1, 0.9), key="id") as found:
        assert found.drift["x"] > 0.5
        assert found.drift["c"] == pytest.approx(0.4 * math.log(0.9 / 0.5 / (0.1 / 0.5)), rel=0.15)
        assert found.drift["same"] < 0.02
        assert "id" not in found.drift
    with compare(rows(0, 0.5), rows(0, 0.5), key="id") as found:
        assert max(found.drift.values()) < 0.03
    with compare(rows(0, 0.5)[:199], rows(9, 0.5)[:200], key="id") as found:
        assert found.drift == {}  # too few rows


def test_hostile_files(differ: Differ, tmp_path: Path) -> None:
    """A file that is no table is named in one sentence; ragged lines are counted and left out."""
    for name, old, new in (
        ("t.parquet", b"PAR1 nothing like it PAR1", b"PAR1 others PAR1"),
        ("t.feather", b"ARROW1 no", b"ARROW1 no no"),
    ):
        (tmp_path / name).write_bytes(old)
        (tmp_path / f"new-{name}").write_bytes(new)
        files = [as_file(tmp_path / each)._replace(path=name) for each in (name, f"new-{name}")]
        with pytest.raises(dataver.InvalidInput, match=f"'{name}' in d@1.0.0 cannot be read as a table: "):
            compare_tables(*files)
    good = "id,v\n" + "".join(f"{n},{n}\n" for n in range(1000))
    difference = differ("t.csv", text(good), text(good + "1,2,3,4,5\nx,y,z\n"))
    with difference.table("t.csv", key="id") as found:
        assert found.irregular == {
            "old": None,
            "new": "2 lines were left out, first line 1002: too many columns",
        }
        assert found.rows["equal"] == 1000


@pytest.mark.slow
def test_many_columns(compare: Callable[..., TableDiff]) -> None:
    """A table of 1,100 columns is compared by all of them."""
    row = {"id": 1} | {f"c{n}": n for n in range(1100)}
    with compare([row, {**row, "id": 2}], [row, {**row, "id": 2, "c1099": 0}]) as found:
        assert found.cells == {"c1099": 1}


def test_tables_without_a_common_column(differ: Differ) -> None:
    """They are not compared, which is said in one sentence."""
    difference = differ("t.csv", text("a,b\n1,2\n"), text("c,d\nx,y\n"))
    found = difference.content("t.csv")
    assert isinstance(found, BytesDiff)
    assert "without a common column" in found.summary()
    with pytest.raises(dataver.InvalidInput, match="without a common column"):
        difference.table("t.csv")


def test_a_table_has_the_suffix_of_one(differ: Differ) -> None:
    """Other files are refused in one sentence."""
    difference = differ("notes.txt", text("a\n"), text("b\n"))
    with pytest.raises(dataver.InvalidInput, match=r"'notes.txt' in d@1.0.0 is not a table\."):
        difference.table("notes.txt")


def test_a_key_must_be_a_column(compare: Callable[..., TableDiff]) -> None:
    """The error lists the columns that both have."""
    with pytest.raises(dataver.InvalidInput, match="'nope' is not a column of both tables") as caught:
        compare([{"id": 1, "v": 2}], [{"id": 1, "v": 3}], key="nope")
    assert caught.value.hint == "both have: id, v"


def test_temporary_files_are_deleted(compare: Callable[..., TableDiff], tmp_path: Path) -> None:
    """When it is closed, or is garbage."""
    found = compare([{"id": 1}], [{"id": 2}])
    assert any((tmp_path / "cache").rglob("tables.duckdb"))
    found.close()
    with pytest.raises(dataver.InvalidInput, match="closed"):
        found.added()
    assert not any((tmp_path / "cache").rglob("tables.duckdb"))
    found = compare([{"id": 1}], [{"id": 2}])
    del found
    assert not any((tmp_path / "cache").rglob("tables.duckdb"))


def written(path: Path, kind: str, *values: str) -> File:
    """Write Parquet with the columns `id`, and `v` of a type of DuckDB."""
    rows = ", ".join(f"({n}, '{value}'::{kind})" for n, value in enumerate(values))
    duckdb.sql(f"FROM (VALUES {rows}) t(id, v)").write_parquet(str(path))
    return as_file(path)


@pytest.fixture
def differing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return the number of rows that differ between one value and another, as type and text."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))

    def differing(old: tuple[str, str], new: tuple[str, str], key: object = "id") -> int:
        files = [written(tmp_path / f"{n}.parquet", *each) for n, each in enumerate((old, new))]
        with compare_tables(*files, key) as found:  # type: ignore[arg-type]
            assert found.values()["rows"] == found.rows  # type: ignore[union-attr]
            return found.rows["changed"] + found.rows["added"]  # type: ignore[union-attr]

    return differing


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("DECIMAL(38,2)", "-0.01", "0.00"),
        ("INTERVAL", "1 month 2 days", "2 months 1 day"),
        ("INTERVAL", "1 month", "30 days"),
        ("UUID", "80000000-0000-0001-0000-000000000002", "80000000-0000-0002-0000-000000000001"),
        ("DECIMAL(38,2)[]", "[-0.01]", "[0.00]"),
        ("INTEGER[]", "[NULL]", "[]"),
    ],
)
def test_values_of_which_duckdb_has_one_hash(
    differing: Callable[..., int], kind: str, old: str, new: str
) -> None:
    """They differ, by key and as whole rows."""
    for key in ((), "id"):
        assert differing((kind, old), (kind, new), key) == 1
        assert differing((kind, old), (kind, old), key) == 0


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (("VARCHAR", "1.6"), ("BIGINT", "2"), False),
        (("VARCHAR", "02"), ("BIGINT", "2"), False),
        (("VARCHAR", " 2 "), ("BIGINT", "2"), True),
        (("VARCHAR", "1.50"), ("DOUBLE", "1.5"), True),
        (("VARCHAR", "2020-01-01 12:00:00"), ("DATE", "2020-01-01"), False),
        (("VARCHAR", "2020-01-01T00:00:00.000"), ("TIMESTAMP", "2020-01-01"), True),
        (("VARCHAR", "2020-01-01 00:00:00.000000001"), ("TIMESTAMP", "2020-01-01"), False),
        (("DECIMAL(20,2)", "1234567890123456.78"), ("DECIMAL(22,2)", "1234567890123456.79"), False),
        (("DECIMAL(2,2)", "0.50"), ("DECIMAL(38,30)", "0.5"), True),
        (("DECIMAL(38,0)", "1" + "0" * 37), ("DECIMAL(38,30)", "1"), False),
        (("BIGINT", "9007199254740993"), ("DOUBLE", "9007199254740992"), False),
        (("BIGINT", "9007199254740992"), ("DOUBLE", "9007199254740992"), True),
        (("BIGINT", "10"), ("DECIMAL(9,3)", "10"), True),
        (("DECIMAL(9,6)", "0.00001"), ("DOUBLE", "0.00001"), True),
        (("DECIMAL(9,2)", "1.1"), ("FLOAT", "1.1"), True),
        (("DECIMAL(9,2)", "1.1"), ("DOUBLE", "1.101"), False),
        (("INTEGER", "1"), ("DOUBLE", "nan"), False),
        (("TIMESTAMP_NS", "2020-01-01 00:00:00.000000001"), ("TIMESTAMP", "2020-01-01"), False),
        (("DATE", "2020-01-01"), ("TIMESTAMP_NS", "2020-01-01"), True),
        (("DATE", "5881580-01-01"), ("TIMESTAMP", "2020-01-01"), False),
        (("DATE[]", "[0044-03-15 (BC)]"), ("DATE[]", "[2020-01-01]"), False),
    ],
)
def test_values_of_other_types_are_compared_exactly(
    differing: Callable[..., int], old: tuple[str, str], new: tuple[str, str], *, same: bool
) -> None:
    """Nothing is rounded, and no value is out of range."""
    assert differing(old, new) == (not same)
    assert differing(new, old) == (not same)


def test_a_renamed_column_is_found_by_the_key(compare: Callable[..., TableDiff]) -> None:
    """Columns with the same values in other rows are none."""
    old = [{"id": n, "x": n, "y": 4 - n, "is_train": n % 2 == 0} for n in range(4)]
    new = [{"id": n, "p": 4 - n, "q": n, "is_test": n % 2 == 1} for n in range(4)]
    for key in (None, ()):
        with compare(old, new, key=key) as found:
            assert found.columns_renamed == [("x", "q"), ("y", "p")]
            assert found.columns_added == [("is_test", "bool")]
            assert (found.rows["changed"], found.rows["equal"]) == (0, 4)
    with compare([{"id": 7, "v": 1}], [{"user_id": 7, "v": 1}], key="user_id") as found:
        assert found.key == ("user_id",)


def test_a_line_that_was_left_out_is_a_difference(compare: Callable[..., TableDiff]) -> None:
    """Although the rows are the same."""
    with compare("id,v\n1,2\n", "id,v\n1,2\n3\n") as found:
        assert found.irregular["new"]
        assert found
        assert found.summary() == "the same rows, but a file is irregular"


def test_a_value_larger_than_the_memory(compare: Callable[..., TableDiff]) -> None:
    """Is said in one sentence."""
    old, new = ([{"id": 1, "v": letter * 30_000_000}] for letter in "ab")
    with pytest.raises(dataver.InvalidInput, match="cannot be compared: Out of Memory"):
        compare(old, new, memory=16 << 20)
