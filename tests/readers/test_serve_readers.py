"""What is served over HTTP, read by the HTTP clients that data tools bring along."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import duckdb_extension_httpfs
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

import dataver
from dataver.web import content, serve

ROWS = 200_000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Twenty columns of numbers that do not compress."""
    chance = np.random.default_rng(5)
    return pd.DataFrame({f"c{number}": chance.integers(0, 2**40, ROWS) for number in range(20)})


@pytest.fixture
def folder(table: pd.DataFrame, tmp_path: Path) -> Path:
    """The table as Parquet, and its head as CSV."""
    folder = tmp_path / "source"
    folder.mkdir()
    table.to_parquet(folder / "x.parquet")
    table[:1000].to_csv(folder / "head.csv.gz", index=False)
    return folder


@pytest.fixture
def address(repo: dataver.Repository, folder: Path, tmp_path: Path) -> Iterator[str]:
    """Where a version of the folder is served."""
    repo.sync(folder, "the/set", workspace=tmp_path / "work")
    with serve(repo, port=0) as server:
        yield f"{server.url}/the/set@1.0.0"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each body that is sent."""
    counted: list[int] = []
    pieces = content.file_pieces

    def counting(files, info, span, bodies):
        counted.append(span.stop - span.start)
        return pieces(files, info, span, bodies)

    monkeypatch.setattr("dataver.web.content.file_pieces", counting)
    return counted


def test_duckdb(address: str, folder: Path, table: pd.DataFrame, sent: list[int]) -> None:
    """SQL over a URL is right, and two columns of twenty move a fraction of the file."""
    (extension,) = Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.load_extension(str(extension))
        query = "select count(*), sum(c3), max(c7) from '{}/x.parquet'"
        found = connection.sql(query.format(address)).fetchall()
        assert found == [(ROWS, int(table["c3"].sum()), int(table["c7"].max()))]
        assert sum(sent) < (folder / "x.parquet").stat().st_size / 5
        latest = address.replace("@1.0.0", "@latest")
        both = f"['{address}/x.parquet', '{latest}/x.parquet']"
        assert connection.sql(f"select count(*) from read_parquet({both})").fetchall() == [(2 * ROWS,)]
        with pytest.raises(duckdb.HTTPException, match="404"):
            connection.sql(f"select * from '{address}/gone.parquet'")


def test_polars(address: str, folder: Path, table: pd.DataFrame, sent: list[int]) -> None:
    """A lazy scan over a URL reads the column it needs."""
    found = pl.scan_parquet(f"{address}/x.parquet").select(pl.col("c5").sum()).collect()
    assert found.item() == table["c5"].sum()
    assert sum(sent) < (folder / "x.parquet").stat().st_size / 5
    assert pl.read_csv(f"{address}/head.csv.gz").shape == (1000, 20)


def test_pandas(address: str, table: pd.DataFrame) -> None:
    """Parquet and packed CSV by URL."""
    pd.testing.assert_frame_equal(pd.read_parquet(f"{address}/x.parquet", columns=["c1"]), table[["c1"]])
    pd.testing.assert_frame_equal(pd.read_csv(f"{address}/head.csv.gz"), table[:1000])


def test_with_a_token(repo: dataver.Repository, folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    """A server for other machines is read with the header that docs/reading.md shows."""
    repo.sync(folder, "the/set", workspace=tmp_path / "work")
    with serve(repo, port=0, token="t" * 20) as server:
        address, headers = f"{server.url}/the/set@1.0.0", {"Authorization": f"Bearer {server.token}"}
        found = pd.read_parquet(f"{address}/x.parquet", columns=["c1"], storage_options=headers)
        pd.testing.assert_frame_equal(found, table[["c1"]])
        pd.testing.assert_frame_equal(
            pd.read_csv(f"{address}/head.csv.gz", storage_options=headers), table[:1000]
        )
        with fsspec.open(f"{address}/x.parquet", headers=headers) as file:
            assert file.read(4) == b"PAR1"
        (extension,) = Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension")
        with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
            connection.load_extension(str(extension))
            query = f"select count(*) from '{address}/x.parquet'"
            with pytest.raises(duckdb.HTTPException):
                connection.sql(query)
            connection.sql(f"create secret (type http, bearer_token '{server.token}')")
            assert connection.sql(query).fetchall() == [(ROWS,)]
        assert len(pd.read_csv(f"{address}/head.csv.gz?token={server.token}", compression="gzip")) == 1000
