"""Contents that cost more than they look: each page says that they are too large, at once."""

import json
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.serving import serve
from ui.conftest import Pages


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """The folder of a repository with two versions of `evil`."""
    tmp_path = tmp_path_factory.mktemp("evil")
    source = tmp_path / "source"
    source.mkdir()
    repo = dataver.init(tmp_path / "repo")
    for number in (1, 2):
        (source / "wide.csv").write_text(
            ",".join(f"c{at}" for at in range(3_000)) + f"\n{number}" + ",0" * 2_999
        )
        long = pa.table({"x": pa.array([number]).take(pa.array([0] * 25_000_000))})
        pq.write_table(long, source / "long.parquet", row_group_size=25_000_000)
        (source / "lines.txt").write_text("\n".join(str(at * number) for at in range(200_000)))
        (source / "note.md").write_text("[" * 20_000)
        cells = [{"cell_type": "markdown", "source": "[" * 20_000}] * 100
        (source / "book.ipynb").write_text(json.dumps({"cells": cells}))
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0x{'f' * 8_000},), }}".encode()
        (source / "huge.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header)
        repo.sync(source, "evil", workspace=tmp_path / "work", message=str(number))
    return tmp_path


@pytest.fixture
def hostile(evil, monkeypatch):
    """Both, served."""
    monkeypatch.setenv("DATAVER_CACHE", str(evil / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(evil / "state"))
    repo = dataver.open(evil / "repo")
    reports: list[str] = []
    with serve(repo, port=0, report=reports.append) as server:
        yield Pages(repo, server, reports)
    assert reports == []


@pytest.mark.parametrize("path", ["wide.csv", "long.parquet", "lines.txt"])
def test_differences_that_take_long_are_refused(hostile, path):
    """By the number of columns, of values, and of bytes of text."""
    found = hostile.document("diff", new="evil@1.0.1", path=path)["content"]
    assert found["kind"] == "problem"
    assert "too large" in found["summary"]


@pytest.mark.parametrize("path", ["note.md", "book.ipynb", "huge.npy", "long.parquet"])
def test_previews_are_bounded(hostile, path):
    """Markdown of nothing but brackets is shown as text."""
    page = hostile.page("version", ref="evil@1.0.1", path=path)
    assert len(page) < 1_000_000


def test_rows_far_back_in_a_row_group_are_refused(hostile):
    """They would be decoded from its beginning."""
    document = hostile.document("version", ref="evil@1.0.1", path="long.parquet", row=9_000_000)
    assert "are not shown" in document["preview"]["note"]
