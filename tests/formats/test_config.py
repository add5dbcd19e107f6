"""The repository's configuration."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.config import RepositoryConfig, parse_config
from dataver.hashing import ChunkingParameters

CONFIG = RepositoryConfig(
    id="0123456789abcdef" * 2,
    created=datetime(2026, 7, 1, tzinfo=UTC),
    write_id="0f" * 16,
    create_if_absent=True,
)
OLD = (
    b'{"capabilities":{"create_if_absent":true},"chunking":{"algorithm":"fastcdc2020","average":16384,"maximum":65536,'
    b'"minimum":4096,"normalization":1},"compression":1,"created":"2026-07-01T00:00:00.000000Z","format":1,'
    b'"id":"0123456789abcdef0123456789abcdef","pack_size":33554432,"write_id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"}'
)
GOLDEN = OLD.replace(b'"format":1', b'"format":2').replace(
    b'"chunking"', b'"checksum":"f83e5a0604657af5","chunking"'
)


def test_the_bytes_of_a_configuration_are_pinned() -> None:
    """The `dataver.json` of docs/format.md, byte for byte."""
    assert CONFIG.encode() == GOLDEN
    assert parse_config(GOLDEN) == CONFIG
    assert parse_config(OLD) == replace(CONFIG, format=1)


def test_a_person_may_indent_it() -> None:
    """Nothing is named by the hash of `dataver.json`, so its spelling does not matter."""
    assert parse_config(GOLDEN.replace(b",", b",\n  ") + b"\n") == CONFIG


def test_other_values_survive() -> None:
    """Every field is written and read."""
    other = replace(
        CONFIG,
        create_if_absent=False,
        chunking=ChunkingParameters.for_average(65536),
        compression=19,
        pack_size=8 << 20,
    )
    assert parse_config(other.encode()) == other


def test_a_newer_repository_is_refused_by_number() -> None:
    """The message names the format found and the one known; newer chunking is named, too."""
    with pytest.raises(FormatTooNew, match=r"format 3.*up to 2"):
        parse_config(OLD.replace(b'"format":1', b'"format":3'))
    with pytest.raises(FormatTooNew, match="fastcdc2030"):
        parse_config(OLD.replace(b"fastcdc2020", b"fastcdc2030"))


@pytest.mark.parametrize(
    "changes", [{"id": "x"}, {"compression": 0}, {"pack_size": 1 << 10}, {"pack_size": 99_000_000}]
)
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    """Bad values of a caller are InvalidInput before anything is written."""
    with pytest.raises(InvalidInput):
        replace(CONFIG, **changes).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"true", b"1"), (b"16384", b"16385"), (b'"compression":1', b'"compression":99'), (b"4096", b"null")],
)
def test_damaged_configurations_are_refused(old: bytes, new: bytes) -> None:
    """Every field has its type and its bounds."""
    with pytest.raises(IntegrityError):
        parse_config(OLD.replace(old, new))


@given(st.binary(max_size=100), st.integers(0, len(OLD) - 1), st.integers(0, 255))
def test_damage_is_refused_or_harmless(data: bytes, place: int, byte: int) -> None:
    """Random, truncated and changed bytes raise only our errors."""
    for bad in (data, OLD[:place]):
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_config(bad)
    try:
        parse_config(OLD[:place] + bytes([byte]) + OLD[place + 1 :])
    except (IntegrityError, FormatTooNew):
        pass


def test_every_flipped_bit_is_seen() -> None:
    """No bit of a configuration can change unseen, in its texts as little as in its checksum."""
    for bit in range(8 * len(GOLDEN)):
        bad = bytearray(GOLDEN)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_config(bytes(bad))
