"""pandas, pyarrow, Polars, DuckDB, datasets, Dask, zarr, Pillow and universal_pathlib on `dataver://`.

Each reads a version that nobody has fetched, by its name alone, and gets what it gets from the folder.
"""

import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import dask.dataframe
import datasets
import duckdb
import fsspec
import huggingface_hub
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import upath
import zarr
from PIL import Image

import dataver
from dataver.fs import DataverFileSystem

ROOT = "dataver://the/set@1.0.0"
ROWS = 30_000


@pytest.fixture(autouse=True)
def folder(machine: Path, repo: dataver.Repository, noise: random.Random) -> Path:
    """The folder that the version `the/set@1.0.0` was made from: tables, images, arrays."""
    folder = machine / "folder"
    for name in ("tables", "images/cat", "images/dog"):
        (folder / name).mkdir(parents=True)
    numbers = np.random.default_rng(3)
    for part in range(3):
        frame = pd.DataFrame(
            {
                "key": np.arange(ROWS) + part * ROWS,
                "value": numbers.normal(size=ROWS),
                "name": [f"row {number}" for number in range(ROWS)],
            }
        )
        frame.to_parquet(folder / "tables" / f"{part}.parquet", index=False)
    frame.head(1_000).to_csv(folder / "some.csv", index=False)
    for kind in ("cat", "dog"):
        for number in range(4):
            pixels = numbers.integers(0, 255, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{number}.png")
    group = zarr.open_group(folder / "arrays.zarr", mode="w")
    group.create_array("ramp", data=np.arange(10_000).reshape(100, 100), chunks=(10, 100))
    repo.sync(folder, "the/set", workspace=machine / "work")
    return folder


@pytest.fixture
def fs() -> DataverFileSystem:
    """The file system as fsspec finds it."""
    found = fsspec.filesystem("dataver")
    assert isinstance(found, DataverFileSystem)
    return found


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    """All tables of the folder as one."""
    return pd.concat(
        [pd.read_parquet(path) for path in sorted((folder / "tables").iterdir())], ignore_index=True
    )


def test_pandas(folder: Path, table: pd.DataFrame, repo: dataver.Repository) -> None:
    """Parquet and CSV by URL; the repository from `storage_options` as well."""
    pd.testing.assert_frame_equal(pd.read_parquet(f"{ROOT}/tables/0.parquet"), table[:ROWS])
    pd.testing.assert_frame_equal(
        pd.read_parquet(f"{ROOT}/tables/1.parquet", columns=["key"]),
        table[["key"]][ROWS : 2 * ROWS].reset_index(drop=True),
    )
    found = pd.read_csv(f"{ROOT}/some.csv", storage_options={"repo": repo.url})
    pd.testing.assert_frame_equal(found, pd.read_csv(folder / "some.csv"))
    with pytest.raises(OSError, match="draft"):
        table.to_csv(f"{ROOT}/new.csv")


def test_pyarrow(fs: DataverFileSystem, table: pd.DataFrame) -> None:
    """Datasets of many files with filters, and single tables."""
    path = "the/set@1.0.0/tables"
    found = pyarrow.dataset.dataset(path, filesystem=fs, format="parquet")
    assert found.count_rows() == 3 * ROWS
    some = found.to_table(columns=["name"], filter=pyarrow.dataset.field("key") >= 2 * ROWS)
    assert some["name"].to_pylist() == table["name"][2 * ROWS :].tolist()
    one = pyarrow.parquet.read_table(f"{path}/2.parquet", filesystem=fs, columns=["value"])
    assert one["value"].to_pylist() == table["value"][2 * ROWS :].tolist()
    again: Any = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs))
    assert len(again.get_file_info(pa.fs.FileSelector("the/set@1.0.0/images", recursive=True))) == 10


def test_polars(fs: DataverFileSystem, folder: Path) -> None:
    """Parquet and CSV from open files, lazy scans of a pyarrow dataset."""
    with fs.open(f"{ROOT}/tables/0.parquet") as file:
        assert pl.read_parquet(file).equals(pl.read_parquet(folder / "tables/0.parquet"))
    lazy = pl.scan_pyarrow_dataset(
        pyarrow.dataset.dataset("the/set@1.0.0/tables", filesystem=fs, format="parquet")
    )
    assert lazy.filter(pl.col("key") < 10).select("key").collect()["key"].to_list() == list(range(10))
    with fs.open(f"{ROOT}/some.csv") as file:
        assert pl.read_csv(file).equals(pl.read_csv(folder / "some.csv"))


def test_duckdb(fs: DataverFileSystem, table: pd.DataFrame) -> None:
    """Globs over Parquet in SQL, through the registered file system."""
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        found = connection.sql(
            f"select count(*), sum(key), max(name) from read_parquet('{ROOT}/tables/*.parquet')"
        ).fetchall()
        assert found == [(3 * ROWS, int(table["key"].sum()), table["name"].max())]
        assert connection.sql(f"select count(*) from '{ROOT}/some.csv'").fetchall() == [(1_000,)]


@pytest.fixture
def offline(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hugging Face's libraries keep to this machine, and to this test's folder.

    `datasets` itself must not be told that it is offline: it would not open any URL then.
    """
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", machine / "hf")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", machine / "hf" / "downloads")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("offline")
def test_datasets(table: pd.DataFrame, folder: Path, machine: Path, streaming: bool) -> None:
    """`load_dataset` of Parquet files and image folders, downloaded first and streamed."""
    tables = datasets.load_dataset(
        "parquet",
        data_files={"train": f"{ROOT}/tables/*.parquet"},
        split="train",
        streaming=streaming,
        cache_dir=str(machine / "hf"),
    )
    assert [row["key"] for row in tables] == table["key"].tolist()
    images = datasets.load_dataset(
        "imagefolder",
        data_files={"train": f"{ROOT}/images/**"},
        split="train",
        streaming=streaming,
        cache_dir=str(machine / "hf"),
    )
    found = [(row["label"], np.asarray(row["image"]).tobytes()) for row in images]
    expected = [
        (label, np.asarray(Image.open(path)).tobytes())
        for label, kind in enumerate(("cat", "dog"))
        for path in sorted((folder / "images" / kind).iterdir())
    ]
    assert sorted(found) == sorted(expected)


@pytest.mark.usefixtures("offline")
def test_datasets_streams_compressed_tables_and_tars(machine: Path, repo: dataver.Repository) -> None:
    """Streams of `.csv.gz` and of WebDataset shards pass options that mean nothing to a version's store."""
    more = machine / "more"
    more.mkdir()
    with gzip.open(more / "some.csv.gz", "wt") as out:
        out.write("key,name\n" + "".join(f"{number},row {number}\n" for number in range(500)))
    with tarfile.open(more / "0.tar", "w") as shard:
        for number in range(9):
            content = f"text {number}".encode()
            member = tarfile.TarInfo(f"{number:03}.txt")
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    repo.sync(more, "more", workspace=machine / "work")
    for kind, name in (("csv", "some.csv.gz"), ("webdataset", "0.tar")):
        rows = list(
            datasets.load_dataset(
                kind,
                data_files={"train": f"dataver://more@1.0.0/{name}"},
                split="train",
                streaming=True,
                cache_dir=str(machine / "hf"),
            )
        )
        if kind == "csv":
            assert [row["name"] for row in rows] == [f"row {number}" for number in range(500)]
        else:
            assert [row["txt"] for row in rows] == [f"text {number}" for number in range(9)]


LOAD = """
import sys, dataver
from datasets import load_dataset
_, how, cache = sys.argv
with dataver.run(key=f"hf:{how}"):
    if how == "declared":
        dataver.use("the/set@1.0.0", include="some.csv")
    rows = load_dataset(
        "csv", data_files="dataver://the/set@1.0.0/some.csv", split="train", cache_dir=cache
    )
    assert len(rows) == 1_000
"""


def test_datasets_from_its_own_cache(machine: Path, repo: dataver.Repository) -> None:
    """The second call reads no file, so the file was available to the run; `dataver.use` links it as read."""
    environment = {**os.environ, "DATAVER_LINEAGE": "on", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "0"}
    found = {}
    for how in ("read", "cached", "declared"):
        subprocess.run(
            [sys.executable, "-c", LOAD, how, str(machine / "hf")], env=environment, check=True, timeout=280
        )
        repo.lineage.sync()  # questions within two seconds of the last pull do not pull
        links = repo.lineage.run(f"hf:{how}").inputs
        found[how] = {(link.how, *link.subset.patterns, *link.subset.paths) for link in links}
    assert found["read"] == {("read", "some.csv")}
    assert found["cached"] == {("available", "some.csv")}  # it asked for the attributes of that file
    assert ("declared", "some.csv") in found["declared"]


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask(table: pd.DataFrame, scheduler: str) -> None:
    """A data frame over several files, in threads and in processes that get the file system pickled."""
    found = dask.dataframe.read_parquet(f"{ROOT}/tables/*.parquet")
    assert len(found.divisions) == 4
    total = found["key"].sum().compute(scheduler=scheduler, num_workers=2)
    assert total == table["key"].sum()


def test_zarr(fs: DataverFileSystem) -> None:
    """Arrays by URL; only what is asked for is read."""
    store = zarr.storage.FsspecStore.from_url(f"{ROOT}/arrays.zarr", read_only=True)
    ramp = zarr.open_group(store, mode="r")["ramp"]
    assert ramp.shape == (100, 100)
    assert ramp[37, 5] == 3_705
    np.testing.assert_array_equal(ramp[:], np.arange(10_000).reshape(100, 100))


def test_pillow(fs: DataverFileSystem, folder: Path) -> None:
    """Images from open files, fetched and not."""
    path = "images/cat/2.png"
    for _ in range(2):
        with fs.open(f"{ROOT}/{path}") as file, Image.open(file) as here, Image.open(folder / path) as there:
            assert here.size == there.size
            assert here.tobytes() == there.tobytes()
        dataver.fetch("the/set@1.0.0")
        fs.invalidate_cache()


def test_universal_pathlib(folder: Path) -> None:
    """Paths of our own class: parts, folders, globs, bytes; never written."""
    root = upath.UPath(ROOT)
    assert type(root).__name__ == "DataverPath"
    path = root / "images" / "dog" / "1.png"
    assert str(path) == f"{ROOT}/images/dog/1.png"
    assert (path.name, path.suffix, path.parent.name) == ("1.png", ".png", "dog")
    assert path.read_bytes() == (folder / "images/dog/1.png").read_bytes()
    assert path.stat().st_size == (folder / "images/dog/1.png").stat().st_size
    assert path.is_file()
    assert not path.is_dir()
    assert (root / "images").is_dir()
    assert not (root / "gone").exists()
    assert sorted(each.name for each in (root / "images").iterdir()) == ["cat", "dog"]
    assert len(list(root.glob("images/*/*.png"))) == len(list(root.rglob("*.png"))) == 8
    with path.open("rb") as file:
        assert file.read(4) == b"\x89PNG"
    with pytest.raises(OSError, match="draft"):
        (root / "new").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        (root / "gone").read_bytes()


_NAMES = """
import upath, warnings
{first}
deep = upath.UPath("dataver://the/set@1.0.0/images/dog")
assert (deep.name, deep.anchor, deep.parent.name) == ("dog", "", "images"), (deep.name, deep.anchor)
assert deep.parts[1:] == ("the", "set@1.0.0", "images", "dog"), deep.parts
assert str(deep.parent) == "dataver://the/set@1.0.0/images", deep.parent
assert [str(each.relative_to(deep.parent.parent)) for each in deep.iterdir()] == [
    f"images/dog/{{number}}.png" for number in range(4)
]
assert [str(above) for above in deep.parents][-2:] == ["dataver://the", "dataver://"]
top = upath.UPath("dataver://the/set@1.0.0/images")
assert sorted((str(at.relative_to(top)), len(files)) for at, _, files in top.walk()) == [
    (".", 0), ("cat", 4), ("dog", 4)
]
"""


@pytest.mark.parametrize(
    "first",
    [
        "warnings.simplefilter('error')",
        "upath.UPath('simplecache::dataver://the/set@1.0.0/some.csv')",
        (
            "import dataver.integrations.upath\n"
            "assert upath.UPath('simplecache::dataver://the/set@1.0.0/a').name == 'a'"
        ),
    ],
    ids=["alone", "after_a_chain", "chain_after_import"],
)
def test_universal_pathlib_splits_in_a_fresh_process(first: str) -> None:
    """Names, parts and relatives are right before anything else has loaded our file system."""
    program = _NAMES.format(first=first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_they_were_all_meant() -> None:
    """The environment has dataver's entry points, which is how they find it."""
    assert "dataver" in fsspec.available_protocols()
    assert upath.registry.get_upath_class("dataver").__module__ == "dataver.integrations.upath"
