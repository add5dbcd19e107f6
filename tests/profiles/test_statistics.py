"""Statistics of columns: the documented examples of Hugging Face, and NumPy's results."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dataver.profiles import statistics
from dataver.tables import MEMORY, connect, scan


def document(tmp_path, table, *, memory=MEMORY, labels=None):
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path)
    with connect(path) as db:
        rows = db.execute(f"DESCRIBE SELECT * FROM {scan(db, path)}").fetchall()
        columns = statistics.measured(rows, labels or {})
        return statistics.statistics(db, statistics.load(db, scan(db, path), columns, None), memory)


def column(tmp_path, values, type_=None, **options):
    """Return the type and the statistics of one column."""
    found = document(tmp_path, pa.table({"x": pa.array(values, type_)}), **options)["statistics"][0]
    return found["column_type"], found["column_statistics"]


def test_the_documented_example_of_integers(tmp_path):
    assert column(tmp_path, range(8551)) == (
        "int",
        {
            "nan_count": 0, "nan_proportion": 0, "min": 0, "max": 8550, "mean": 4275, "median": 4275,
            "std": 2468.60541,
            "histogram": {
                "hist": [856, 856, 856, 856, 856, 856, 856, 856, 856, 847],
                "bin_edges": [0, 856, 1712, 2568, 3424, 4280, 5136, 5992, 6848, 7704, 8550],
            },
        },
    )  # fmt: skip


def test_the_documented_example_of_two_values(tmp_path):
    _, found = column(tmp_path, [0] * 50075 + [1] * 49925)
    assert (found["mean"], found["median"], found["std"]) == (0.49925, 0.0, 0.5)
    assert found["histogram"] == {"hist": [50075, 49925], "bin_edges": [0, 1, 1]}


def test_the_documented_example_of_lists(tmp_path):
    lengths = [1] * 11177 + [2] * 196 + [3]
    kind, found = column(tmp_path, [["x"] * length for length in lengths])
    assert (kind, found["min"], found["max"], found["mean"]) == ("list", 1, 3, 1.01741)
    assert (found["median"], found["std"]) == (1.0, 0.13146)
    assert found["histogram"] == {"hist": [11177, 196, 1], "bin_edges": [1, 2, 3, 3]}


def test_the_documented_example_of_truth_values(tmp_path):
    assert column(tmp_path, [True] * 10 + [False] * 7 + [None] * 3) == (
        "bool",
        {"nan_count": 3, "nan_proportion": 0.15, "frequencies": {"False": 7, "True": 10}},
    )


def test_the_documented_example_of_string_labels(tmp_path):
    counts = {"A": 1378, "D": 1221, "B": 1212, "C": 1146}
    values = [label for label, count in counts.items() for _ in range(count)]
    assert column(tmp_path, values) == (
        "string_label",
        {"nan_count": 0, "nan_proportion": 0.0, "n_unique": 4, "frequencies": counts},
    )


def test_the_documented_example_of_class_labels(tmp_path):
    kind, found = column(tmp_path, [0] * 2528 + [1] * 6023, labels={"x": ["unacceptable", "acceptable"]})
    assert kind == "class_label"
    assert found == {
        "nan_count": 0, "nan_proportion": 0, "no_label_count": 0, "no_label_proportion": 0, "n_unique": 2,
        "frequencies": {"unacceptable": 2528, "acceptable": 6023},
    }  # fmt: skip


def test_values_beyond_the_labels_are_integers(tmp_path):
    assert column(tmp_path, [0, 1, 7], labels={"x": ["a", "b"]})[0] == "int"


@pytest.mark.parametrize(
    ("distinct", "rows", "kind"),
    [
        (10, 10, "string_label"),  # at most 10, in any number of rows
        (11, 54, "string_text"),
        (11, 55, "string_label"),  # a fifth
        (999, 4995, "string_label"),
        (1000, 5000, "string_text"),  # fewer than 1,000
    ],
)
def test_strings_are_labels_if_they_are_few(tmp_path, distinct, rows, kind):
    found, values = column(tmp_path, [f"value {at % distinct}" for at in range(rows)])
    assert found == kind
    assert values.get("n_unique", distinct) == distinct


def test_texts_have_the_statistics_of_their_lengths_in_characters(tmp_path):
    texts = ["é" * (at % 40 + 1) + f"{at:05}" for at in range(2000)]
    kind, found = column(tmp_path, [*texts, None])
    lengths = np.array([len(text) for text in texts])
    assert (kind, found["nan_count"], found["min"], found["max"]) == ("string_text", 1, 6, 45)
    assert found["mean"] == pytest.approx(lengths.mean(), abs=1e-5)
    edges = [*range(6, 46, 4), 45]
    assert found["histogram"] == {"hist": np.histogram(lengths, edges)[0].tolist(), "bin_edges": edges}


def test_floats_agree_with_numpy_and_nan_is_missing(tmp_path):
    values = np.random.default_rng(7).lognormal(0, 2, 20_001)
    for memory in (MEMORY, 1):  # with a median in memory, and by a sort
        kind, found = column(tmp_path, [*values, float("nan"), None, float("inf")], memory=memory)
        assert (kind, found["nan_count"]) == ("float", 3)
        expected = [values.min(), values.max(), values.mean(), np.median(values), values.std(ddof=1)]
        names = ("min", "max", "mean", "median", "std")
        assert [found[name] for name in names] == pytest.approx(expected, abs=1e-5)
        hist, edges = np.histogram(values, 10)
        assert found["histogram"]["hist"] == hist.tolist()
        assert found["histogram"]["bin_edges"] == pytest.approx(edges, abs=1e-5)


def test_an_even_number_of_values_has_the_mean_of_the_middle_two(tmp_path):
    for memory in (MEMORY, 1):
        assert column(tmp_path, [4, 1, 3, 2, None], memory=memory)[1]["median"] == 2.5


def test_times_are_texts_in_utc(tmp_path):
    first = datetime(1969, 12, 31, 23, 59, 50, tzinfo=UTC)
    values = [first + timedelta(seconds=10 * at) for at in range(11)]
    kind, found = column(tmp_path, values, pa.timestamp("us", "Europe/Berlin"))
    assert (kind, found["min"], found["median"]) == ("datetime", "1969-12-31 23:59:50", "1970-01-01 00:00:40")
    assert found["std"] == "0:00:33.166250"
    assert found["histogram"]["hist"] == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert found["histogram"]["bin_edges"][:2] == ["1969-12-31 23:59:50", "1970-01-01 00:00:01"]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([-(2**63), 2**63 - 1, 0], pa.int64()),
        ([0, 2**64 - 1], pa.uint64()),
        ([-1.7e308, 1.7e308, 1.0], pa.float64()),
        ([5e-324, 1e-323], pa.float64()),
        ([datetime(9999, 12, 31), datetime(1, 1, 1)], pa.timestamp("s")),
        ([2**62, -(2**62)], pa.timestamp("us")),
        ([7], pa.int8()),
        ([None, None], pa.float32()),
    ],
)
def test_extreme_values_have_statistics(tmp_path, values, type_):
    from dataver.formats.profile import encode_profile

    kind, found = column(tmp_path, values, type_)
    encode_profile({"full": True, "kind": kind, "found": found})
    if found["histogram"] is not None:
        assert sum(found["histogram"]["hist"]) == len(values) - found["nan_count"]


def test_columns_without_statistics_are_left_out(tmp_path):
    table = pa.table({"blob": [b"x"], "struct": [{"a": 1}], "x": [1]})
    assert [each["column_name"] for each in document(tmp_path, table)["statistics"]] == ["x"]


def test_no_rows_have_no_statistics(tmp_path):
    table = pa.table({"x": pa.array([], pa.int64())})
    assert document(tmp_path, table) == {"num_examples": 0, "statistics": [], "partial": False}


def test_names_of_columns_are_quoted(tmp_path):
    table = pa.table({'"; DROP TABLE x; --': [1, 2], "a b": ["x", "y"]})
    names = [each["column_name"] for each in document(tmp_path, table)["statistics"]]
    assert names == table.column_names
