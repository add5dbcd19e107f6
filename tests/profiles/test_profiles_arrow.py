"""Arrow files whose batches lie: what they point to is checked before it is read."""

import struct

import pyarrow as pa
import pytest

import dataver
from dataver.errors import InvalidInput


def stream(array: pa.Array, *, compression: str | None = None) -> bytes:
    """An Arrow stream of one column."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, pa.schema([("x", array.type)]), options=options) as writer:
        writer.write_batch(pa.record_batch([array], names=["x"]))
    return sink.getvalue().to_pybytes()


def published(tmp_path, monkeypatch, **files: bytes) -> dataver.Version:
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").mkdir()
    for name, data in files.items():
        (tmp_path / "source" / f"{name}.arrow").write_bytes(data)
    repo = dataver.init(tmp_path / "repo")
    return repo.sync(tmp_path / "source", "evil", workspace=tmp_path / "work").version


def test_offsets_that_lead_elsewhere_are_an_error(tmp_path, monkeypatch):
    """The process would end, or show its memory; so neither rows nor the profile follow them."""
    good = stream(pa.array(["abc", "def", "gh"]))
    offsets = struct.pack("<4i", 0, 3, 6, 8)
    assert good.count(offsets) == 1
    bad = good.replace(offsets, struct.pack("<4i", 0, 3, 6, 2**31 - 1))
    negative = good.replace(offsets, struct.pack("<4i", -(2**30), 3, 6, 8))
    version = published(tmp_path, monkeypatch, good=good, bad=bad, negative=negative)
    assert version.head("good.arrow").to_pydict() == {"x": ["abc", "def", "gh"]}
    for name in ("bad.arrow", "negative.arrow"):
        for read in (version.head, version.to_arrow, version.statistics):
            with pytest.raises(InvalidInput, match=r"is damaged|[Oo]ffset"):
                read(name)
        assert [problem for problem, _ in version.profile(name).problems] == [name]


def test_first_rows_of_a_bomb_are_refused(tmp_path, monkeypatch):
    """A few kB that are unpacked to 400 MB of zeros."""
    bomb = stream(pa.array([0] * 50_000_000, pa.int64()), compression="zstd")
    assert len(bomb) < 500_000
    version = published(tmp_path, monkeypatch, bomb=bomb)
    with pytest.raises(InvalidInput, match="its compressed columns take 381 MiB"):
        version.head("bomb.arrow")
