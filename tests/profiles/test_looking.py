"""Tables of a version in the public API: columns, statistics, rows, DataFrames."""

import gzip
import sys

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import dataver
from dataver import InvalidInput, PathNotFound
from dataver.extras import require_extra
from dataver.profiles.kinds import kind_of

STORED = {"num_examples": 7, "partial": False, "statistics": []}
ROWS = [{"id": at, "price": at / 4, "name": f"n{at}"} for at in range(100)]
TABLE = pa.Table.from_pylist(ROWS)
CSV = b"id,price,name\n" + b"".join(b"%d,%.2f,n%d\n" % (at, at / 4, at) for at in range(100))
NAMES = ["t.csv", "t.csv.gz", "t.csv.zst", "t.jsonl", "t.parquet", "t.feather", "t.arrow"]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A version with the same table in every format, and files that are none."""
    import json

    import zstandard

    folder = tmp_path_factory.mktemp("data")
    (folder / "t.csv").write_bytes(CSV)
    (folder / "t.csv.gz").write_bytes(gzip.compress(CSV))
    (folder / "t.csv.zst").write_bytes(zstandard.compress(CSV))
    (folder / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    parquet.write_table(TABLE, folder / "t.parquet", row_group_size=30)
    feather.write_feather(TABLE, folder / "t.feather")
    with pa.ipc.new_stream(folder / "t.arrow", TABLE.schema) as writer:
        writer.write_table(TABLE)
    (folder / "note.txt").write_text("no table")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "noise.parquet").write_bytes(b"PAR1 noise PAR1")
    (folder / "ragged.csv").write_bytes(b"a,b\n1,2\n3\n4,5\n")
    repo = dataver.init(tmp_path_factory.mktemp("repo") / "r")
    return repo.sync(folder, "tables").version


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_of_each_format(version, name):
    found = [(each.name, each.type, each.nullable) for each in version.schema(name)]
    assert found == [("id", "int64", True), ("price", "double", True), ("name", "string", True)]


def test_a_type_has_one_name_in_every_format_answer_and_difference(tmp_path):
    """Neither the layout in memory nor the names of a list's items belong to it."""
    plain = pa.table({
        "day": pa.array([0, 1], pa.date32()),
        "at": pa.array([0, 1], pa.timestamp("us")),
        "text": pa.array(["a", "b"]),
        "list": pa.array([[0.5], []]),
        "pair": pa.array([{"x": 1, "y": ["z"]}] * 2),
    })  # fmt: skip
    item = pa.large_list(pa.field("each", pa.float64()))
    pair = pa.struct({"x": pa.int64(), "y": pa.large_list(pa.large_string())})
    kinds = [*plain.schema.types[:2], pa.large_string(), item, pair]
    other = plain.cast(pa.schema(list(zip(plain.column_names, kinds, strict=True))))
    other = other.set_column(2, "text", other["text"].dictionary_encode())
    names = ["date32[day]", "timestamp[us]", "string", "list<double>", "struct<x: int64, y: list<string>>"]
    folder = tmp_path / "data"
    folder.mkdir()
    for stem, table in (("a", plain), ("b", other)):
        parquet.write_table(table, folder / f"{stem}.parquet")
        feather.write_feather(table, folder / f"{stem}.arrow")
    (folder / "a.csv").write_text("day,at,text\n1970-01-01,1970-01-01 00:00:00.5,a\n")
    version = dataver.init(tmp_path / "repo").sync(folder, "t").version
    files = ["a.parquet", "b.parquet", "a.arrow", "b.arrow", "a.csv"]

    def answers():
        return [[each.type for each in version.schema(name)] for name in files]

    assert answers() == [names] * 4 + [names[:3]]
    version.profile()
    assert answers() == [names] * 4 + [names[:3]]
    both = version.diff(version)
    for name in files[1:]:
        with both.table(name, old_path="a.parquet") as found:
            assert found.columns_retyped == []
            assert [kind for _, kind in found.columns_dropped] == (names[3:] if name == "a.csv" else [])


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_each_format(version, name):
    assert version.head(name, 7).to_pylist() == ROWS[:7]
    assert version.head(name).num_rows == 10
    assert version.head(name, 1000).to_pylist() == ROWS
    assert version.head(name, 0).to_pylist() == []
    assert version.to_arrow(name).to_pylist() == ROWS
    assert version.to_arrow(name, ["name", "id"]).column_names == ["name", "id"]
    pd.testing.assert_frame_equal(version.to_pandas(name), pd.DataFrame(ROWS), check_dtype=False)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_each_format(version, name):
    found = version.statistics(name)
    assert found == version.statistics("t.parquet")
    assert (found["num_examples"], found["partial"]) == (100, False)
    assert [each["column_type"] for each in found["statistics"]] == ["int", "float", "string_text"]


@pytest.mark.parametrize("ask", ["schema", "statistics", "head", "to_arrow", "to_pandas"])
def test_what_is_no_table_is_refused_in_one_sentence(version, ask):
    with pytest.raises(InvalidInput, match=r"'note\.txt' in tables@1\.0\.0 is not a table"):
        getattr(version, ask)("note.txt")
    with pytest.raises(PathNotFound):
        getattr(version, ask)("missing.csv")
    with pytest.raises(InvalidInput, match=r"'noise\.parquet' in tables@1\.0\.0"):
        getattr(version, ask)("noise.parquet")


def test_rows_are_never_left_out_silently(version):
    with pytest.raises(InvalidInput, match="1 line was left out, first line 3"):
        version.to_arrow("ragged.csv")
    with pytest.warns(UserWarning, match=r"'ragged\.csv' in tables@1\.0\.0: 1 line was left out"):
        assert version.head("ragged.csv").to_pylist() == [{"a": 1, "b": 2}, {"a": 4, "b": 5}]
    with pytest.warns(UserWarning, match="1 line was left out"):
        assert version.statistics("ragged.csv")["num_examples"] == 2
    with pytest.warns(UserWarning, match="1 row of the first have other columns, first row 3"):
        version.schema("ragged.csv")


def test_what_is_asked_for_wrongly_is_named(version):
    with pytest.raises(InvalidInput, match="-1 is no number of rows"):
        version.head("t.csv", -1)
    assert version.to_arrow("t.parquet", "id").column_names == ["id"]
    with pytest.raises(InvalidInput) as raised:
        version.head("noise.parquet")
    assert not raised.value.message.endswith("..") and "ArrowInvalid" not in raised.value.message


def test_a_version_that_is_not_uploaded_is_no_broken_table(tmp_path):
    draft = dataver.init(tmp_path / "repo").create("t", workspace=tmp_path)
    with draft.open("t.csv", "wb") as file:
        file.write(b"a\n1\n")
    with pytest.raises(InvalidInput, match="is not uploaded yet") as raised:
        draft.finalize().head("t.csv")
    assert "as a table" not in raised.value.message


def test_an_unknown_column_is_refused(version):
    for name in NAMES:
        with pytest.raises(InvalidInput, match="it has no column 'cost'"):
            version.to_arrow(name, ["id", "cost"])


def test_without_the_extra_a_sentence_says_what_to_install(version, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'dataver\[tables\]'"):
        version.head("t.csv")


def test_stored_profiles_need_no_extra(version, monkeypatch):
    version.profile(["t.csv"])
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    assert [each.name for each in version.schema("t.csv")] == ["id", "price", "name"]
    assert version.statistics("t.csv")["num_examples"] == 100


def test_a_missing_package_has_its_name_in_the_registry(monkeypatch):
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="the Python package Pillow,"):
        require_extra("images", "a picture")


def test_every_table_has_profiles():
    assert {kind_of(f"x.{suffix}").name for suffix in ("arrows", "pq", "csv.zst", "ndjson.gz")} == {"table"}
    assert kind_of("x.parquet.gz") is None


def test_the_head_of_a_large_file_reads_only_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "t.csv").write_bytes(b"a,b\n" + b"".join(b"%d,%d\n" % (at, at * at) for at in range(400_000)))
    parquet.write_table(pa.table({"a": range(2_000_000)}), folder / "t.parquet", row_group_size=100_000)
    repo = dataver.init(tmp_path / "repo")
    version = repo.sync(folder, "large").version
    for name in ("t.csv", "t.parquet"):
        asked = []
        read = dataver.Files.read_opened

        def counted(files, path, start, stop, read=read, asked=asked):
            asked.append(stop - start)
            return read(files, path, start, stop)

        monkeypatch.setattr(dataver.Files, "read_opened", counted)
        assert version.head(name, 3)["a"].to_pylist() == [0, 1, 2]
        assert 0 < sum(asked) < version.entry(name).size / 3


def test_a_line_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dataver.tables.LONGEST", 1 << 20)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_bytes(b"x" * (8 << 20))
    version = dataver.init(tmp_path / "repo").sync(tmp_path / "data", "long").version
    with pytest.raises(InvalidInput, match="its first line is longer than 1 MiB"):
        version.head("t.csv")


def test_statistics_come_from_a_stored_profile(version, monkeypatch):
    from dataver.formats.profile import encode_profile

    stored = {"full": True, "kind": "table", "statistics": STORED, "columns": []}
    digest = version.entry("empty.csv").digest
    tree = bytes.fromhex(version.digest.removeprefix("dv1:"))
    version._repository.profiles.add("tables", "tables", [tree], {digest: encode_profile(stored)})
    assert version.statistics("empty.csv") == STORED


def frames():
    table = pa.table({"id": range(200_000), "price": [at * 7919 % 1000 / 8 for at in range(200_000)]})
    return {"pandas": table.to_pandas(), "table": table, "reader": table.to_reader()}


@pytest.mark.parametrize("kind", ["pandas", "table", "reader"])
def test_a_dataframe_becomes_parquet_that_shares_chunks_with_the_next_version(tmp_path, kind):
    repo = dataver.init(tmp_path / "repo")
    draft = repo.create("prices", workspace=tmp_path)
    draft.add_dataframe(frames()[kind], "prices.parquet", compression="zstd")
    draft.finalize().upload()
    first = repo.version("prices")
    assert first.to_arrow("prices.parquet").num_rows == 200_000
    assert first.head("prices.parquet", 2).to_pylist()[1] == {"id": 1, "price": 7919 % 1000 / 8}
    changed = frames()["table"]
    changed = pa.concat_tables([changed.slice(0, 100_000), changed.slice(100_010)])
    again = repo.create("prices", workspace=tmp_path)
    again.add_dataframe(changed, "prices.parquet", compression="zstd")
    report = again.finalize().upload()
    assert report.size < first.size / 2


def test_what_is_no_dataframe_is_refused(tmp_path):
    draft = dataver.init(tmp_path / "repo").create("prices", workspace=tmp_path)
    with pytest.raises(InvalidInput, match="a list cannot be written as Parquet"):
        draft.add_dataframe([1], "x.parquet")
    with pytest.raises(InvalidInput, match=r"'y\.csv' does not have the suffix of a Parquet file"):
        draft.add_dataframe(TABLE, "y.csv")
    with pytest.raises(InvalidInput, match="the table cannot be written as Parquet"):
        draft.add_dataframe(pd.DataFrame({"a": [1, "x"]}), "x.parquet")
    with pytest.raises(InvalidInput, match=r"an option of Parquet is not valid: .*colour"):
        draft.add_dataframe(TABLE, "x.parquet", colour="red")
    assert list(draft.tree.iterate()) == []
