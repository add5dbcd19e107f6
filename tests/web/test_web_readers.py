"""Programs of other people that read what is served."""

import shutil
import subprocess

import fsspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from .conftest import NOISE, World


@pytest.fixture
def table(world: World, tmp_path) -> str:
    """The address of a Parquet file with 20 columns."""
    folder = tmp_path / "tables"
    folder.mkdir()
    columns = {f"c{number}": [row * number for row in range(40_000)] for number in range(20)}
    pyarrow.parquet.write_table(
        pa.table(columns), folder / "x.parquet", compression="none", use_dictionary=False
    )
    world.repo.sync(folder, "tables", workspace=tmp_path / "work")
    return f"{world.server.url}/tables@1.0.0/x.parquet"


def test_fsspec_lists_and_reads(world: World) -> None:
    """Fsspec's HTTP file system lists folders by their pages, and seeks in files."""
    web = fsspec.filesystem("http")
    top = f"{world.server.url}/vision/cats@1.0.0/"
    names = {entry["name"].removeprefix(top) for entry in web.ls(top)}
    assert {"large.bin", "labels.csv", "train/", "nothing", "link"} <= names
    with web.open(f"{top}large.bin", block_size=100_000) as file:
        assert file.size == len(NOISE)
        file.seek(2_000_000)
        assert file.read(1000) == NOISE[2_000_000:2_001_000]
    assert web.cat_ranges([f"{top}large.bin"] * 3, [0, 10, 2_999_000], [5, 20, 3_000_000]) == [
        NOISE[:5],
        NOISE[10:20],
        NOISE[2_999_000:],
    ]


def test_a_column_of_a_table_moves_less_than_the_table(world: World, table: str, tmp_path) -> None:
    """Pyarrow over HTTP reads one column of twenty, right, with a fraction of the bytes."""
    web = fsspec.filesystem("http", block_size=64 * 1024)
    moved = []
    original = web._cat_file

    async def counted(url, start=None, end=None, **options):
        data = await original(url, start=start, end=end, **options)
        moved.append(len(data))
        return data

    web._cat_file = counted
    with web.open(table, cache_type="none") as file:
        got = pyarrow.parquet.read_table(file, columns=["c7"])
        size = file.size
    assert got["c7"].to_pylist() == [row * 7 for row in range(40_000)]
    assert sum(moved) < size / 4


def test_a_dataset_is_scanned(world: World, table: str) -> None:
    """Pyarrow's dataset filters rows of a table over HTTP."""
    path = table.removeprefix("http://")
    files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fsspec.filesystem("http")))
    found = pyarrow.dataset.dataset(f"http://{path}", filesystem=files, format="parquet")
    rows = found.to_table(columns=["c1"], filter=pyarrow.dataset.field("c2") == 2 * 39_999)
    assert rows["c1"].to_pylist() == [39_999]


def test_curl_goes_on_with_a_download(world: World, tmp_path) -> None:
    """`curl -C -` fetches the rest of a file that it has a part of."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    (tmp_path / "part").write_bytes(NOISE[:1_234_567])
    url = f"{world.server.url}/vision/cats@1.0.0/large.bin"
    done = subprocess.run(
        [curl, "-sSf", "-C", "-", "-o", tmp_path / "part", url], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "part").read_bytes() == NOISE
