"""Digests and checksums: pinned values, since they are part of the format."""

from hypothesis import given
from hypothesis import strategies as st

from dataver.hashing import (
    CONTEXT_BLOCK,
    CONTEXT_PACK,
    CONTEXT_RECORD,
    DIGEST_SIZE,
    checksum,
    derived,
    digest,
    new_hasher,
    path_hash,
)


def test_digest_is_what_b3sum_prints() -> None:
    """The published BLAKE3 values of nothing and of `abc`."""
    assert digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest(b"abc").hex() == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_checksum_is_xxh3_64() -> None:
    """The published XXH3-64 value of nothing, and a pinned one."""
    assert checksum(b"") == 0x2D06800538D394C2
    assert checksum(b"abc") == 0x78AF5F94892F3950


def test_no_two_domains_agree() -> None:
    """The same bytes have four different names: as content, block, pack footer and record."""
    contexts = (CONTEXT_BLOCK, CONTEXT_PACK, CONTEXT_RECORD)
    names = {digest(b"x"), *(derived(context, b"x") for context in contexts)}
    assert len(names) == 4
    assert all(len(name) == DIGEST_SIZE for name in names)


def test_derived_values_are_pinned() -> None:
    """The contexts are part of the format: these names stay the same for ever."""
    assert derived(CONTEXT_BLOCK, b"").hex()[:16] == "38c17899caaf860b"
    assert derived(CONTEXT_PACK, b"").hex()[:16] == "a5ca1fd317839996"
    assert derived(CONTEXT_RECORD, b"").hex()[:16] == "9e89eb303b625c1e"


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_parts_hash_like_the_whole(parts: list[bytes]) -> None:
    """How bytes are split makes no difference to a checksum or to an incremental digest."""
    whole = b"".join(parts)
    hasher = new_hasher()
    for part in parts:
        hasher.update(part)
    assert checksum(*parts) == checksum(whole)
    assert hasher.digest() == digest(whole) == digest(memoryview(whole))


def test_path_hash_depends_on_the_level() -> None:
    """Each level of a tree has boundaries of its own, and they are pinned."""
    assert path_hash(b"abc", 0) == checksum(b"abc")
    assert path_hash(b"train/cat.jpg", 0) != path_hash(b"train/cat.jpg", 1)
