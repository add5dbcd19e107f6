"""What the next version costs where the one before is in the cache: counted, byte by byte, at the store."""

import random
import secrets
from datetime import UTC, datetime

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

from .conftest import contents, write


def test_the_next_version_moves_its_new_chunks_only(tmp_path, monkeypatch):
    """Version N+1 of 12 MB with 100 KB changed reads no more than the pack that was made for it."""
    noise = random.Random(3)
    inner = MemoryStore()
    config = RepositoryConfig(
        id=secrets.token_hex(16),
        created=datetime.now(UTC),
        write_id=secrets.token_hex(16),
        create_if_absent=True,
    )
    data = bytearray(noise.randbytes(10_000_000))
    source = tmp_path / "source"
    write(source / "large", bytes(data))
    for number in range(200):
        write(source / "small" / f"{number:03d}", noise.randbytes(10_000))

    def opened(machine):
        monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / machine))
        return dataver.Repository(Core(FaultyStore(inner), config), inner.url)

    opened("maker").sync(source, "d", workspace=tmp_path)
    before = set(inner.objects)
    data[5_000_000:5_060_000] = noise.randbytes(60_000)
    write(source / "large", bytes(data))
    for number in (5, 6, 7, 120):
        write(source / "small" / f"{number:03d}", noise.randbytes(10_000))
    opened("maker").sync(source, "d", workspace=tmp_path)
    (pack,) = (key for key in inner.objects if key not in before and key.startswith("packs/"))
    new = len(inner.objects[pack])
    assert 100_000 < new < 300_000

    first = opened("reader").fetch("d@1.0.0")
    assert first.transferred > 11_900_000
    reader = opened("reader")
    report = reader.fetch("d@1.0.1")
    read = [
        each
        for each in reader._core.store.requests
        if each.key.startswith("packs/") and each.method != "list"
    ]
    assert {each.key for each in read if each.method == "get"} == {pack}
    assert sum(each.length for each in read if each.method == "get") <= new
    assert report.transferred <= new
    assert report.reused >= report.size - new
    assert contents(report.path) == contents(source)
    again = opened("reader")
    again.fetch("d@1.0.1")
    assert not [each for each in again._core.store.requests if each.key.startswith(("packs/", "trees/"))]
