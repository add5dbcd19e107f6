"""The local chunk index is a hint: right when it answers, silent when it cannot."""

import sqlite3

from dataver.formats.frame import encode_frame
from dataver.formats.pack import Footer, FooterBuilder
from dataver.hashing import digest
from dataver.ingest.chunk_index import ChunkIndex


def footer_of(*chunks: bytes) -> Footer:
    builder = FooterBuilder()
    header, stored = encode_frame(b"".join(chunks), [len(chunk) for chunk in chunks], None)
    check = int.from_bytes(header[16:24], "little")
    names = b"".join(digest(chunk) for chunk in chunks)
    builder.add_frame(check, len(stored), sum(map(len, chunks)), [len(chunk) for chunk in chunks], names)
    return builder.footer()


def test_a_chunk_is_found_where_its_pack_says_it_is(tmp_path):
    """The place is a position in the raw stream of the pack."""
    index = ChunkIndex(tmp_path / "i.sqlite", "me")
    index.add(footer_of(b"one", b"three"), published=True)
    place = index.find([digest(b"three"), digest(b"absent")])[digest(b"three")]
    assert (place.start, place.length) == (3, 5)
    assert len(index.find([digest(b"absent")])) == 0


def test_packs_of_a_draft_are_its_own_until_they_are_published(tmp_path):
    """Another draft must not rely on a pack that may never be uploaded."""
    mine, other = (ChunkIndex(tmp_path / "i.sqlite", owner) for owner in ("me", "other"))
    footer = footer_of(b"one")
    mine.add(footer, published=False)
    other.empty = False
    assert mine.find([digest(b"one")])
    assert not other.find([digest(b"one")])
    mine.publish([footer.pack_id])
    fresh = ChunkIndex(tmp_path / "i.sqlite", "third")
    assert fresh.find([digest(b"one")])


def test_a_discarded_draft_takes_its_packs_along(tmp_path):
    """What only the draft had is not offered any more."""
    index = ChunkIndex(tmp_path / "i.sqlite", "me")
    index.add(footer_of(b"one"), published=False)
    index.disown()
    assert not ChunkIndex(tmp_path / "i.sqlite", "me").find([digest(b"one")])


def test_a_forgotten_pack_is_not_found(tmp_path):
    """A pack that turned out to be missing is dropped."""
    index = ChunkIndex(tmp_path / "i.sqlite", "me")
    footer = footer_of(b"one")
    index.add(footer, published=True)
    index.forget(footer.pack_id)
    assert not index.find([digest(b"one")])
    assert index.known_packs([footer.pack_id]) == set()


def test_a_prefix_that_leads_to_another_digest_is_a_miss(tmp_path):
    """The footer has the last word, not the first eight bytes."""
    index = ChunkIndex(tmp_path / "i.sqlite", "me")
    index.add(footer_of(b"one"), published=True)
    twin = digest(b"one")[:8] + bytes(24)
    assert not index.find([twin])


def test_a_corrupted_index_is_begun_anew(tmp_path):
    """Invariant 5: the index may be lost at any time."""
    path = tmp_path / "i.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    index = ChunkIndex(path, "me")
    assert index.empty
    index.add(footer_of(b"one"), published=True)
    assert index.find([digest(b"one")])


def test_an_index_of_another_schema_is_begun_anew(tmp_path):
    """A newer program's index is not misread."""
    path = tmp_path / "i.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert ChunkIndex(path, "me").empty


def test_many_chunks_are_asked_for_at_once(tmp_path):
    """More digests than SQLite takes variables."""
    chunks = [b"chunk %d" % number for number in range(3000)]
    index = ChunkIndex(tmp_path / "i.sqlite", "me")
    index.add(footer_of(*chunks), published=True)
    assert len(index.find([digest(chunk) for chunk in chunks])) == 3000
