"""A second reader of repositories, written from docs/format.md alone: it imports nothing of dataver.

`python reader.py REPOSITORY NAME@LABEL FOLDER` restores a version from a repository folder. It checks
every checksum and name on the way, but is meant to be short: it reads whole packs and keeps them.
"""

import json
import struct
import sys
from functools import cache
from pathlib import Path

import zstandard
from blake3 import blake3
from xxhash import xxh3_64_intdigest


class Fields:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, letter: str, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}{letter}", self.take(struct.calcsize(letter) * count))

    def digests(self, count: int) -> list[bytes]:
        return [self.take(32) for _ in range(count)]

    def texts(self, count: int) -> list[str]:
        found = self.take(self.numbers("I", 1)[0]).decode().split("\0") if count else self.take(4) and []
        assert len(found) == count, "number of texts"
        return found

    def planes(self, stride: int, size: int) -> bytes:
        payload = bytearray(size)
        for first, length in enumerate(self.numbers("I", stride)):
            plane, full = self.take(length), len(range(first, size, stride))
            payload[first::stride] = plane if length == full else zstandard.decompress(plane)
        assert self.at == len(self.data), "planes"
        return bytes(payload)


def summed(data: bytes) -> dict:
    """Return a JSON object that matches its checksum, which format 1 had none of."""
    values = json.loads(data)
    assert values["format"] in (1, 2), "format"
    if values["format"] == 2:
        rest = {key: value for key, value in values.items() if key != "checksum"}
        text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert values["checksum"] == f"{xxh3_64_intdigest(text.encode()):016x}", "checksum"
    return values


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        summed((folder / "dataver.json").read_bytes())
        self.object = cache(lambda kind, name: (folder / kind / name.hex()[:2] / name.hex()).read_bytes())

    def record(self, name: str, label: str, record_id: str | None = None) -> dict:
        """Return a record whose whole history is in order."""
        data = (self.folder / "datasets" / name / "versions" / f"{label}.json").read_bytes()
        record, found = summed(data), blake3(data, derive_key_context="dataver 1 record").hexdigest()
        assert record_id in (None, found) and (record["dataset"], record["label"]) == (name, label), "record"
        for parent in record["parents"]:
            self.record(parent["dataset"], parent["label"], parent["record"])
        return record

    def block(self, digest: bytes, *, as_base: bool = False) -> tuple[bytes, bytes]:
        """Return a block's logical part and layout part."""
        data = self.object("trees", digest)
        magic, flags, base, *sizes, checksum = struct.unpack_from("<8sQ32sIIIIQ", data)
        logical, layout, dictionary = data[72 : 72 + sizes[0]], data[72 + sizes[0] :], None
        assert magic == b"DVTREE\0\1" and len(layout) == sizes[2], "block header"
        assert xxh3_64_intdigest(data[:64] + data[72:]) == checksum, "block checksum"
        if flags == 1:
            assert not as_base, "a base that is a delta"
            content = self.block(base, as_base=True)[0]
            dictionary = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        logical = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(logical)
        layout = layout and zstandard.decompress(layout)
        assert [len(logical), len(layout)] == sizes[1::2], "block lengths"
        assert blake3(logical, derive_key_context="dataver 1 tree block").digest() == digest, "block digest"
        return logical, layout

    def entries(self, digest: bytes) -> list[tuple]:
        """Return the entries below a block: path, kind, size, digest, target, extents."""
        logical, layout = self.block(digest)
        fields = Fields(logical[4:])
        count = fields.numbers("I", 1)[0]
        if logical[0]:
            return [entry for child in fields.digests(count) for entry in self.entries(child)]
        kinds, sizes = fields.numbers("B", count), fields.numbers("Q", count)
        files = [size for kind, size in zip(kinds, sizes, strict=True) if kind < 2]
        digests, (paths, targets) = fields.digests(len(files)), map(fields.texts, (count, kinds.count(2)))
        assert fields.at == len(fields.data), "bytes too many, or too few"
        file = zip(digests, self.extents(Fields(layout), files) if files else [], strict=True)
        link, entries = iter(targets), []
        for path, kind, size in zip(paths, kinds, sizes, strict=True):
            digest, extents = next(file) if kind < 2 else (b"", [])
            entries.append((path, kind, size, digest, next(link) if kind == 2 else "", extents))
        return entries

    def extents(self, fields: Fields, sizes: list[int]) -> list[list[tuple]]:
        """Return the extents of each file of a leaf."""
        packs, total = fields.digests(fields.numbers("I", 1)[0]), fields.numbers("I", 1)[0]
        counts = fields.numbers("I", len(sizes))
        rows = zip(*(fields.numbers("I", total) for _ in range(4)), strict=True)
        lengths = iter(fields.numbers("I", total - sum(size > 0 for size in sizes)))
        assert fields.at == len(fields.data), "bytes too many, or too few"
        found, before, end = [], None, 0
        for size, count in zip(sizes, counts, strict=True):
            left = size
            found.append([])
            for number in range(count):
                pack, offset, stored, written = next(rows)
                skip = (written + end) % 2**32 if before == (pack, offset) else written
                length = left if number == count - 1 else next(lengths)
                left, before, end = left - length, (pack, offset), skip + length
                found[-1].append((packs[pack], offset, stored, skip, length))
        return found

    def content(self, extents: list[tuple]) -> bytes:
        parts = []
        for pack, offset, stored, skip, length in extents:
            run, raw = self.object("packs", pack)[offset : offset + stored], b""
            while run:
                codec, count, size, raw_length, _, checksum = struct.unpack_from("<HHIIIQ", run)
                data, head, run = run[24 : 24 + size], run[:16], run[24 + size :]
                assert xxh3_64_intdigest(head + data) == checksum, "frame checksum"
                full = raw_length + 4 * count
                grouped = codec in (2, 4, 8) and Fields(data).planes(codec, full)
                payload = grouped or (bytes, zstandard.decompress)[codec](data)
                assert len(payload) == full, "frame length"
                raw += payload[:raw_length]
            parts.append(raw[skip : skip + length])
        return b"".join(parts)


def restore(folder: Path, ref: str, target: Path) -> list[tuple]:
    """Write a version's entries into a new folder and return them."""
    repository = Repository(folder)
    record = repository.record(*ref.split("@"))
    entries = repository.entries(bytes.fromhex(record["tree"]))
    totals = (len(entries), sum(entry[1] < 2 for entry in entries), sum(entry[2] for entry in entries))
    assert totals == (record["entries"], record["files"], record["size"]), "totals"
    for path, kind, size, digest, link, extents in entries:
        place = target / path
        assert target.resolve() in place.resolve().parents and ".." not in path.split("/"), "path"
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == 3:
            place.mkdir()
        elif kind == 2:
            place.symlink_to(link)
        else:
            data = repository.content(extents)
            assert len(data) == size and blake3(data).digest() == digest, path
            place.write_bytes(data)
            place.chmod(0o755 if kind == 1 else 0o644)
    return entries


if __name__ == "__main__":
    restore(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
