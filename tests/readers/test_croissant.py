"""mlcroissant validates the description of a version, and yields the rows of tables from a fetched folder."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow as pa
import pytest
from pyarrow import parquet

import dataver

TABLE = pa.table(
    {
        "id": [1, 2, 3],
        "price": [1.5, None, 2.5],
        "sold": [True, None, False],
        "name of": ["a", "ü", None],
        "when": [dt.datetime(2026, 1, 1, 12)] * 3,
        "day": [dt.date(2026, 1, 1)] * 3,
        "at": [dt.time(1, 2, 3)] * 3,
        "tags": [["a"], ["b", "c"], []],
        "colour": pa.array(["red", "blue", "red"]).dictionary_encode(),
        "nested": [{"x": 1}] * 3,
        "a/b %": [1, 2, 3],
    }
)


@pytest.fixture
def folder(repo: dataver.Repository, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fetched version of all kinds of tables, with its description."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.setenv("CROISSANT_CACHE", str(machine / "croissant"))
    source = machine / "source"
    (source / "odd [1]").mkdir(parents=True)
    (source / "train").mkdir()
    parquet.write_table(TABLE, source / "prices.parquet")
    (source / "train/0.csv").write_text("id,label\n1,a\n2,b\n")
    (source / "train/1.csv").write_text("id,label\n3,\n")
    (source / "train/other.csv").write_text("id\n9\n")
    (source / "odd [1]/t*.tsv").write_text("k\tv\n1\tx\n")
    (source / "rows.jsonl").write_text('{"k": 1}\n{"k": 2}\n')
    for number in range(3):
        (source / f"train/{number}.jpg").write_bytes(b"%d" % number)
    with dataver.run(name="prepare"):
        repo.sync(source, "shop/prices", message="June")
        (source / "README.md").write_text("# Prices")
        version = repo.sync(source, "shop/prices", message="July", metadata={"citation": "Ada 2026"}).version
    assert version is not None
    version.describe("Prices & <b>names</b>", license="CC-BY-4.0")
    version.fetch(dest=machine / "work")
    command = [sys.executable, "-m", "dataver_cli", "show", "shop/prices", "--croissant"]
    done = subprocess.run(command, capture_output=True, check=True)
    (machine / "work" / "croissant.json").write_bytes(done.stdout)
    return machine / "work"


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the records of a record set, by the names of the columns."""
    found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    sets = {each.name: each for each in found.metadata.record_sets}
    names = {field.id: field.name for field in sets[name].fields}
    return [{names[key]: value for key, value in each.items()} for each in found.records(sets[name].id)]


def test_the_description_is_valid(folder: Path) -> None:
    """`mlcroissant validate` finds nothing, and reads what it says."""
    command = [
        Path(sys.executable).with_name("mlcroissant"),
        "validate",
        "--jsonld",
        folder / "croissant.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Done" in done.stderr
    assert "rror" not in done.stderr
    assert "arning" not in done.stderr
    found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json")).metadata
    assert found.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert found.version == "1.0.1"
    document = json.loads((folder / "croissant.json").read_text("utf-8"))
    assert document["prov:wasDerivedFrom"][0]["@id"] == "dataver://shop/prices@1.0.0"
    assert document["prov:wasGeneratedBy"][0]["prov:label"] == "prepare"


def test_records_are_the_rows(folder: Path) -> None:
    """Of Parquet, CSV, TSV and JSON lines; columns without a type in Croissant are left out."""
    rows = records(folder, "prices.parquet")
    assert rows[0] == {
        "id": 1,
        "price": 1.5,
        "sold": True,
        "name of": b"a",
        "when": dt.datetime(2026, 1, 1, 12),
        "day": dt.datetime(2026, 1, 1),
        "at": dt.time(1, 2, 3),
        "tags": [b"a"],
        "colour": b"red",
        "a/b %": 1,
    }
    assert [each["price"] for each in rows] == [1.5, None, 2.5]
    assert [each["name of"] for each in rows] == [b"a", "ü".encode(), None]
    assert [each["id"] for each in records(folder, "train/*.csv")] == [1, 2, 3]
    assert records(folder, "train/other.csv") == [{"id": 9}]
    assert records(folder, "odd [1]/t*.tsv") == [{"k": 1, "v": b"x"}]
    assert records(folder, "rows.jsonl") == [{"k": 1}, {"k": 2}]
