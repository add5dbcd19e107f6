"""How much moves: column readers fetch the columns they want, at few requests, and once."""

import random
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.fs import DataverFileSystem
from dataver.reading.versions import Versions
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

ROWS = 400_000


class Far:
    """A Parquet file of 10 MB in a repository that counts what leaves it."""

    def __init__(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        noise = random.Random(4)
        self.table = pa.table(
            {
                "key": list(range(ROWS)),
                "text": [noise.randbytes(8).hex() for _ in range(ROWS)],
                "flag": [number % 3 == 0 for number in range(ROWS)],
            }
        )
        (machine / "folder").mkdir()
        self.path = machine / "folder" / "t.parquet"
        pa.parquet.write_table(self.table, self.path, row_group_size=100_000)
        config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )
        self.store = FaultyStore(MemoryStore())
        repo = dataver.Repository(Core(self.store, config), "memory://")
        repo.sync(machine / "folder", "the/set", workspace=machine / "work")
        self.store.requests.clear()
        self.fs: Any = DataverFileSystem(repo=str(machine / "nowhere"))
        self.fs._shared = Versions(lambda: Core(self.store, config))

    @property
    def moved(self) -> int:
        """Bytes of packs that were read."""
        return sum(
            one.length or 0
            for one in self.store.requests
            if one.key.startswith("packs/") and one.method == "get"
        )


@pytest.fixture
def far(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    return Far(machine, monkeypatch)


def test_a_column_costs_less_than_the_file(far: Far) -> None:
    """A narrow column moves a fraction of the file, and reading it again moves nothing."""
    size = far.path.stat().st_size
    assert size > 6_000_000
    flags = pa.parquet.read_table("the/set@1.0.0/t.parquet", filesystem=far.fs, columns=["flag"])
    assert flags["flag"].equals(far.table["flag"])
    first = far.moved
    assert first < size / 4
    again = pa.dataset.dataset("the/set@1.0.0", filesystem=far.fs, format="parquet")
    assert again.to_table(columns=["flag"])["flag"].equals(far.table["flag"])
    assert far.moved == first
    everything = pa.parquet.read_table("the/set@1.0.0/t.parquet", filesystem=far.fs)
    assert everything.equals(far.table)
    assert far.moved < size * 1.05


def test_a_row_group_costs_its_part(far: Far) -> None:
    """A filter that the footer's statistics answer leaves the other row groups where they are."""
    found = pa.parquet.read_table(
        "the/set@1.0.0/t.parquet", filesystem=far.fs, filters=[("key", "<", 50_000)]
    )
    assert found.num_rows == 50_000
    assert far.moved < far.path.stat().st_size / 2
