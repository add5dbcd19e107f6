"""Tokens and parts: what a driver gives to its workers, and what each returns.

        token      names a draft and its repository; contains no secret
        part       the entries that one worker added, as the blocks of a tree of their own

Both are canonical JSON (`canonical_json`). A token is bound to its repository: its `binding` is a BLAKE3 over
the token and the repository's random id, which the token does not contain. So only a process that can read
the repository can make one or change one. The blocks of a part are `digest (32) · length u32 · object`, one
after the other, in the part itself or, if they are large, in an object of the repository.

Keeps invariants 1 (a part's blocks are checked against their digest) and 7.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.canonical_json import Fields, decode_json, encode_json, format_time
from dataver.formats.record import ParentRef
from dataver.hashing import derived, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

__all__ = ["MAX_BLOCKS", "ForkToken", "Part", "encode_blocks", "fingerprint", "parse_blocks", "parse_token"]

FORMAT: Final = 1
MAX_BLOCKS: Final = 1 << 30
"""The largest size of the encoded blocks of one part, which `join` reads into memory."""
CONTEXT: Final = "dataver 1 fork token"
_HEAD: Final = struct.Struct("<32sI")
_PARENTS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkToken:
    """One worker's access to a draft.

    Attributes:
        url: the repository's URL, without secrets.
        repository: fingerprint of the repository's id.
        dataset: the dataset that the draft will be a version of.
        draft: the draft's id.
        base: the draft's tree when it was forked, as hex.
        parents: the versions that the draft started from.
        worker: number of the worker, from 0.
        workers: number of workers.
        expires: the time after which no worker can begin with it, by the store's clock.
    """

    url: str
    repository: str
    dataset: str
    draft: str
    base: str
    parents: tuple[ParentRef, ...]
    worker: int
    workers: int
    expires: datetime

    def encode(self, repository_id: str) -> str:
        """Return the token as JSON text, bound to its repository."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {
            "format": FORMAT,
            "expires": format_time(self.expires, "a token"),
            "parents": [
                {"dataset": each.dataset, "label": each.label, "record": each.record, "tree": each.tree}
                for each in self.parents
            ],
        }
        values["binding"] = _binding(values, repository_id)
        return encode_json(values, "a token").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one worker added to a draft; `Draft.join` takes it. Can be pickled and written as JSON.

    Attributes:
        draft: the id of the draft.
        repository: fingerprint of the repository's id.
        base: the draft's tree when it was forked, as hex.
        worker: name of the worker.
        tree: digest of the tree of the added entries, as hex.
        entries: number of entries.
        size: bytes of their files.
        packs: number of packs that the worker sent.
        digest: BLAKE3 of the encoded blocks, as hex.
        key: the object that holds the blocks; "" if the part itself does.
        blocks: the encoded blocks, if no object holds them.
    """

    draft: str
    repository: str
    base: str
    worker: str
    tree: str
    entries: int
    size: int
    packs: int
    digest: str
    key: str = ""
    blocks: bytes = b""

    def __repr__(self) -> str:
        return f"Part({self.worker!r}, draft={self.draft!r}, entries={self.entries})"

    def to_json(self) -> str:
        """Return the part as JSON text."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {"format": FORMAT, "blocks": b64encode(self.blocks).decode()}
        return encode_json(values, "a part").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the part in JSON text.

        Raises:
            InvalidInput: it is not a part.
            FormatTooNew: it is one of a newer dataver.
        """
        try:
            read = Fields(decode_json(_bytes(text), "a part"), "a part")
            read.expect_format(FORMAT)
            words: dict[str, Any] = {
                name: read.text(name) for name in ("draft", "repository", "worker", "key")
            }
            names: dict[str, Any] = {name: read.hex(name, 64) for name in ("base", "tree", "digest")}
            counts: dict[str, Any] = {name: read.number(name) for name in ("entries", "size", "packs")}
            return cls(**words, **names, **counts, blocks=b64decode(read.text("blocks"), validate=True))
        except (IntegrityError, ValueError) as error:
            raise InvalidInput(
                f"this is not a part: {getattr(error, 'message', error)}.",
                hint="pass on the result of `Worker.finish` unchanged",
            ) from error


def parse_token(text: str, *, repository_id: str | None = None) -> ForkToken:
    """Return a token, and with `repository_id` check that it was made for that repository and is unchanged.

    Raises:
        InvalidInput: it is not a token, it was changed, or it belongs to another repository.
        FormatTooNew: it is one of a newer dataver.
    """
    try:
        values = decode_json(_bytes(text), "a token")
        token = _token(Fields(values, "a token"))
    except (IntegrityError, ValueError) as error:
        raise InvalidInput(
            f"this is not a token of `Draft.fork`: {getattr(error, 'message', error)}.",
            hint="pass on the text unchanged",
        ) from error
    if repository_id is not None:
        if token.repository != fingerprint(repository_id):
            raise InvalidInput(
                f"this token was made for another repository than the one at {token.url}.",
                hint="fork the draft again: the token's repository was moved or replaced",
            )
        if values.pop("binding") != _binding(values, repository_id):
            raise InvalidInput(
                f"this token for draft {token.draft} was changed after it was made.",
                hint="pass on the text that `Draft.fork` returned, unchanged",
            )
    return token


def fingerprint(repository_id: str) -> str:
    """Return 16 hex characters that identify a repository, and from which its id cannot be computed."""
    return derived(CONTEXT, repository_id.encode())[:8].hex()


def encode_blocks(blocks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the encoding of blocks, given as `(digest, object)`."""
    return b"".join(part for name, data in blocks for part in (_HEAD.pack(name, len(data)), data))


def parse_blocks(data: bytes, expected: str) -> dict[bytes, bytes]:
    """Return the objects of encoded blocks by their digests.

    Raises:
        IntegrityError: the bytes do not have the expected digest (hex), or are no blocks.
    """
    if digest(data).hex() != expected:
        raise IntegrityError("the blocks of a part do not have its digest.")
    found, at = dict[bytes, bytes](), 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise IntegrityError("the blocks of a part are cut off.")
        name, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found[name] = data[at : at + length]
        at += length
    return found


def _token(read: Fields) -> ForkToken:
    read.expect_format(FORMAT)
    read.hex("binding", 64)
    return ForkToken(
        url=read.text("url"),
        repository=read.hex("repository", 16),
        dataset=read.text("dataset"),
        draft=read.hex("draft", 12),
        base=read.hex("base", 64),
        parents=tuple(
            ParentRef(each.text("dataset"), each.text("label"), each.hex("record", 64), each.hex("tree", 64))
            for each in read.tables("parents", most=_PARENTS)
        ),
        worker=read.number("worker"),
        workers=read.number("workers", least=1),
        expires=read.time("expires"),
    )


def _binding(values: Mapping[str, Any], repository_id: str) -> str:
    return derived(CONTEXT, repository_id.encode() + encode_json(dict(values), "a token")).hex()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
