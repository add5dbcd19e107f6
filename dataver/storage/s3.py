"""A store in an S3 bucket, on AWS or any server that implements its protocol.

The idea: libraries find the credentials and keep the connections (`dataver.storage.s3_transport`), but each
request is made here. s3fs's own reading may return fewer bytes, or zeros, without an error, and its writing
uses multipart, where some servers ignore conditions. So: one PUT per object, `If-None-Match: *` to create,
explicit ranges whose length is checked, and a deadline for all attempts together.

Every PUT carries its MD5, the one checksum that practically all servers compare (and that buckets with Object
Lock require); the MD5 that the reply states is compared here. botocore's newer default checksums are sent
only where required, since other servers refuse them. Packs are large and MD5 is slow: the first also carries
its CRC32. If the server returns that CRC32, which shows that it compared it, later packs carry only the
CRC32. They are not hashed for the signature either: the checksum is part of it, and a pack's name is its
hash, which every reader compares.

Keeps invariants 2 and 4. `exclusive_create` starts as True; the probe finds servers that ignore conditions.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from dataver.errors import AlreadyExists, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.storage.base import Data, ObjectInfo, Pin, check_key, check_range, joined
from dataver.storage.body import Body
from dataver.storage.fsspec_store import NO_STORE, FsspecStore
from dataver.storage.retry import pause_after
from dataver.storage.s3_transport import Transport, connect, seconds_for
from dataver.storage.settings import S3Settings
from dataver.storage.translate import response_code
from dataver.web_page import refuse_web_page

__all__ = ["S3Store"]

T = TypeVar("T")

_LARGE = 1024 * 1024  # bytes from which a CRC32 is tried
_UNWANTED = {400, 501}  # statuses for an unsupported header
_UNSIGNED = {*_UNWANTED, 403}  # … and for an unsigned body
_CONFLICTS = 6  # retries while AWS answers "a conflicting write is under way"
_REREADS = 4  # of an object that does not match the server's MD5
_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
_AWS = re.compile(r"\.amazonaws\.com(\.cn)?$")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _Damaged(StoreError):
    """An object that was damaged on the way to the server, and stored."""


class _Reply(NamedTuple):
    data: bytes
    first: int  # of the object's bytes; 0 if the server sent all
    total: int  # size of the object
    md5: str | None = None  # the server's MD5 of the whole object, if that was read
    etag: str | None = None


class S3Store(FsspecStore):
    """The store contract on a bucket and a prefix.

    Args:
        place: `bucket` or `bucket/prefix`.
        storage_options: the settings of `dataver.storage.settings`, and s3fs's own options: `key`, `secret`,
            `token`, `client_kwargs`, `config_kwargs` … The usual AWS settings provide the rest.
        connecting: makes the transport of a process; must be picklable.
    """

    deletes_at_once = 250  # S3 allows 1,000, which a server that deletes one by one may not finish in time

    def __init__(
        self,
        place: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        connecting: Callable[[Mapping[str, Any]], Transport] = connect,
    ) -> None:
        bucket, _, prefix = place.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,254}", bucket):
            raise InvalidInput(f"s3://{place} names no bucket.", hint="write s3://bucket/prefix")
        prefix = prefix.strip("/")
        if prefix:
            check_key(prefix)
        super().__init__(f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}", storage_options)
        self.exclusive_create = True
        self._tells_md5 = True  # until an object has an ETag that cannot be its MD5
        self._knows_md5 = False
        self._settings = S3Settings.of(storage_options)
        self._connecting = connecting
        self._compares_crc: bool | None = None  # None: not determined yet
        self._takes_unsigned: bool | None = None  # bodies that the signature omits; None: not determined yet
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def location(self) -> str:
        """See `Store.location`; bucket names are unique in AWS, and per endpoint elsewhere."""
        endpoint = self._client()[0].endpoint.rstrip("/")
        host = urlsplit(endpoint).hostname or ""
        return self.url if _AWS.search(host) else f"{self.url} at {endpoint.lower()}"

    @property
    def login(self) -> str:
        """See `Store.login`."""
        transport, _ = self._client()
        with self._translating("open", ""):
            found: str = transport.login()
        return found

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        first, length = check_range(start, length)
        if length == 0:
            return super().get(key, start, length)
        end = "" if length is None else first + length - 1
        if first == 0 and length is None:
            return self._read_whole(key)
        reply = self._read(key, f"bytes={first}-{end}", length or 0)
        if reply is None:
            if length is None:
                self._check_start(key, first)
                return b""
            raise self._too_short(key, self.stat(key).size, first + length)
        wanted = reply.total - first if length is None else length
        if first + wanted > reply.total or wanted < 0:
            refuse_web_page(reply.data, f"{key} in {self.url}")
            raise self._too_short(key, reply.total, first + wanted)
        skip = first - reply.first  # not 0 if the server ignored the range and sent all
        data = reply.data[skip : skip + wanted]
        if skip < 0 or len(data) != wanted:
            raise self._wrong_length(key, first, wanted, len(data))
        return data

    def get_bounded(self, key: str, most: int) -> bytes:
        """See `Store.get_bounded`."""
        return self._read_whole(key, most)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        check_range(0, length)
        if length == 0:
            return b"", self.stat(key).size
        reply = self._read(key, f"bytes=-{length}", length)
        if reply is None:  # the object is empty
            size = self.stat(key).size
            return self.get(key, max(0, size - length), min(size, length)), size
        return reply.data[max(0, len(reply.data) - length) :], reply.total

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        self._put(key, joined(data))

    def put_file_new(self, key: str, path: Path) -> bool:
        """See `Store.put_file_new`; the file is read twice in parts: for its checksum, and to be sent."""
        if self.exists(key):
            return False
        self._put(key, path)
        return True

    def _put(self, key: str, source: bytes | Path) -> None:
        body = Body(source)
        if len(body) < _LARGE:
            self._send(key, body, {"ContentMD5": body.md5()})
        elif self._compares_crc is None:
            self._send_first(key, body)
        else:
            checksum = {"ChecksumCRC32": body.crc32()} if self._compares_crc else {"ContentMD5": body.md5()}
            self._send_large(key, body, checksum)

    def _send_first(self, key: str, body: Body) -> None:
        """Write the first large object with its MD5 and its CRC32, and record whether CRC32 is supported."""
        md5, crc = {"ContentMD5": body.md5()}, {"ChecksumCRC32": body.crc32()}
        try:
            reply = self._send(key, body, md5 | crc)
            self._compares_crc = reply.get("ChecksumCRC32") == crc["ChecksumCRC32"]
        except StoreError as error:
            if not _refused(error, _UNWANTED):
                raise
            self._send(key, body, md5)  # perhaps it was the CRC32
            self._compares_crc = False

    def _send_large(self, key: str, body: Body, checksum: dict[str, str]) -> None:
        """Write a large object, protected by a checksum that is part of the signature."""
        if self._takes_unsigned is not False:
            try:
                self._send(key, Body(body.source, unsigned=True), checksum)
                self._takes_unsigned = True
                return
            except StoreError as error:
                if self._takes_unsigned or not _refused(error, _UNSIGNED):
                    raise
        self._send(key, body, checksum)
        self._takes_unsigned = False

    def _send(self, key: str, body: Body, checksum: dict[str, str]) -> Mapping[str, Any]:
        return self._store("write", key, self._put_request(key, body, checksum), len(body))

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`; not repeated, unless the server reports that nothing was decided."""
        body = Body(joined(data))
        request = self._put_request(key, body, {"ContentMD5": body.md5()})
        if not self.exclusive_create:
            self._create_looking(key, request, len(body))
            return
        once = request | {"IfNoneMatch": "*"}
        for attempt in range(_CONFLICTS):
            try:
                self._once("create", key, self._storing(key, once), seconds_for(len(body)))
                return
            except _Damaged:  # it is ours alone: the server has accepted the condition
                self._store("create", key, request, len(body))
                return
            except StoreError as error:
                code, status = response_code(error) or ("", 0)
                if status == 501 or code == "NotImplemented":  # conditions are not supported
                    self.exclusive_create = False
                    self._create_looking(key, request, len(body))
                    return
                if status != 409 or attempt == _CONFLICTS - 1:
                    raise
                pause = pause_after(error, attempt)
            time.sleep(pause)

    def _create_looking(self, key: str, request: dict[str, Any], size: int) -> None:
        if self.exists(key):
            raise AlreadyExists(f"{key} in {self.url} exists already.")
        self._store("create", key, request, size)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            self._ask("delete", key, "delete_object", self._target(key))
        except NotFound:
            return

    def delete_many(
        self, keys: Sequence[str], *, check: Callable[[], None] = lambda: None
    ) -> dict[str, StoreError]:
        """See `Store.delete_many`; objects that a reply does not name as deleted are deleted one by one."""
        failed: dict[str, StoreError] = {}
        for start in range(0, len(keys), self.deletes_at_once):
            some = keys[start : start + self.deletes_at_once]
            done = self._delete_together(some, check) if len(some) > 1 else frozenset()
            failed |= super().delete_many([key for key in some if key not in done], check=check)
        return failed

    def _delete_together(self, keys: Sequence[str], check: Callable[[], None]) -> Collection[str]:
        """Delete objects with one request; return the keys that the reply names as deleted."""
        names = {self._target(key)["Key"]: key for key in keys}
        objects = {"Bucket": self._bucket, "Delete": {"Objects": [{"Key": name} for name in names]}}
        try:
            check()
            reply = self._ask("delete", keys[0], "delete_objects", objects)
        except (StoreError, NotFound) as error:
            if isinstance(error, StoreError) and error.transient:
                raise
            return ()  # the server does not support it, or refuses one of the objects
        found = {each.get("Key") for each in reply.get("Deleted", ())}
        return {key for name, key in names.items() if name in found}

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        found = self._ask("look at", key, "head_object", self._target(key))
        return _info(key, found["ContentLength"], found)

    def pin(self, key: str, version: str | None = None) -> Pin:
        """See `Store.pin`."""
        wanted = self._target(key) | ({"VersionId": version} if version is not None else {})
        found = self._ask("look at", key, "head_object", wanted)
        info = _info(key, found["ContentLength"], found)
        return Pin(info.size, info.etag, version or _version(found), info.modified)

    def get_pinned(self, key: str, pin: Pin, start: int, length: int) -> bytes:
        """See `Store.get_pinned`; conditions let the server compare, and its reply is compared as well."""
        request = self._target(key) | {"Range": f"bytes={start}-{start + length - 1}"}
        request |= {"IfMatch": pin.etag} if pin.etag else {}
        request |= {"VersionId": pin.version} if pin.version else {}
        try:
            reply = self._request(
                "read", key, lambda by, left: self._load(by, key, request, left), size=length
            )
        except NotFound as error:
            raise self._changed(key, "it is gone") from error
        except AlreadyExists as error:  # 412: the condition does not hold
            raise self._changed(key, "its ETag differs") from error
        except StoreError as error:
            code, status = response_code(error) or ("", 0)
            if status == 416 or code == "InvalidRange":
                raise self._changed(key, "it is shorter now") from error
            raise
        if reply.total != pin.size:
            raise self._changed(key, f"it has {reply.total} bytes now and had {pin.size}")
        if pin.etag and reply.etag and reply.etag != pin.etag:
            raise self._changed(key, "its ETag differs")
        data = reply.data[start - reply.first :][:length]
        if reply.first > start or len(data) != length:
            raise self._wrong_length(key, start, length, len(data))
        return data

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`; all pages are read first, as some servers do not sort them."""
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if after:
            request["StartAfter"] = self._prefix + after
        found = []
        while True:
            page = self._request("list", prefix, partial(self._page, prefix, request))
            token = page.get("NextContinuationToken") if page["IsTruncated"] else None
            for one in page.get("Contents", ()):
                key = one["Key"].removeprefix(self._prefix)
                # consoles leave empty "folder" objects; some servers ignore StartAfter
                if key and not key.endswith("/") and (after is None or key > after):
                    found.append(_info(key, one["Size"], one))
            if token is None:
                break
            request["ContinuationToken"] = token
        yield from sorted(found)

    def _page(
        self, prefix: str, request: Mapping[str, Any], transport: Transport, seconds: float
    ) -> Mapping[str, Any]:
        """Return one page of a listing.

        A proxy's web page or an empty body with status 200 parses as a listing without keys, so an empty
        result is accepted only if the reply has the form of a listing of this prefix.

        Raises:
            StoreError: the reply does not have that form.
        """
        page = transport.call("list_objects_v2", request, seconds)
        truncated, token = page.get("IsTruncated"), page.get("NextContinuationToken")
        inside = (
            "Size" in one and str(one.get("Key", "")).startswith(request["Prefix"])
            for one in page.get("Contents", ())
        )
        goes_on = bool(token) and token != request.get("ContinuationToken")
        if isinstance(truncated, bool) and (goes_on or not truncated) and all(inside):
            return page
        raise self._no_listing(prefix)

    def _read_whole(self, key: str, most: int | None = None) -> bytes:
        """Return an object whose MD5 matches the server's; one of more than `most` bytes is refused.

        Some servers return ETags that look like an MD5 but are not. If an object is the same on each read and
        no MD5 ever matched, MD5s of this store are ignored from then on.
        """
        came: set[bytes] = set()
        for _ in range(_REREADS):
            reply = self._read(key, None if most is None else f"bytes=0-{most - 1}", 0)
            if reply is not None and most is not None and reply.total > most:
                raise self._too_long(key, reply.total, most)
            if reply is None or reply.md5 is None or not self._tells_md5:
                return b"" if reply is None else reply.data
            if reply.md5 == hashlib.md5(reply.data, usedforsecurity=False).hexdigest():
                self._knows_md5 = True
                return reply.data
            came.add(reply.data)
        if len(came) > 1 or self._knows_md5:
            raise IntegrityError(
                f"{key} in {self.url} is damaged: its MD5 does not match the one that the store states.",
                hint="run `dataver verify` to list all damage; restore the object from a copy",
            )
        self._tells_md5 = False
        return came.pop()

    def _read(self, key: str, range_header: str | None, length: int) -> _Reply | None:
        """Return the range, or None if the server reports that it is empty."""
        request = self._target(key)
        if range_header is not None:
            request["Range"] = range_header
        try:
            return self._request(
                "read", key, lambda by, left: self._load(by, key, request, left), size=length
            )
        except StoreError as error:
            code, status = response_code(error) or ("", 0)
            if status == 416 or code == "InvalidRange":
                return None
            raise

    def _target(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _put_request(self, key: str, body: Body, checksum: dict[str, str]) -> dict[str, Any]:
        return self._target(key) | {"Body": body} | checksum | self._settings.put_arguments(key)

    def _ask(
        self, doing: str, key: str, method: str, request: Mapping[str, Any], *, size: int = 0
    ) -> Mapping[str, Any]:
        return self._request(doing, key, _calling(method, request), size=size)

    def _store(self, doing: str, key: str, request: Mapping[str, Any], size: int) -> Mapping[str, Any]:
        return self._request(doing, key, self._storing(key, request), size=size)

    def _storing(
        self, key: str, request: Mapping[str, Any]
    ) -> Callable[[Transport, float], Mapping[str, Any]]:
        """Return a PUT that compares the MD5 that the server states with the one that was sent.

        Servers that do not compare `Content-MD5` (moto) store what arrives. As long as no MD5 of this server
        has matched, its ETags may not be MD5s, and the object is read back.
        """

        def put(transport: Transport, seconds: float) -> Mapping[str, Any]:
            reply = transport.call("put_object", request, seconds)
            if not reply.get("ETag"):  # an empty body with status 200 parses as a reply, too
                raise StoreError(
                    f"cannot write {key} in {self.url}: the reply is not the store's.",
                    hint=NO_STORE,
                    transient=True,
                )
            sent, stated = request.get("ContentMD5"), _stated_md5(reply)
            if sent is None or stated is None or not self._tells_md5:
                return reply
            if base64.b64decode(sent).hex() == stated:
                self._knows_md5 = True
            elif self._knows_md5 or self._load(transport, key, self._target(key), seconds).data != (
                request["Body"].whole()
            ):
                raise _Damaged(
                    f"{key} arrived in {self.url} with other bytes than were sent.",
                    hint="repeat the command",
                    transient=True,
                )
            else:
                self._tells_md5 = False
            return reply

        return put

    def _request(self, doing: str, key: str, send: Callable[[Transport, float], T], *, size: int = 0) -> T:
        """Make an idempotent request; repeat it while it fails temporarily."""
        return self._retry(lambda left: self._once(doing, key, send, left), size=size)

    def _once(self, doing: str, key: str, send: Callable[[Transport, float], T], seconds: float) -> T:
        transport, _ = self._client()
        with self._translating(doing, key):
            return send(transport, seconds)

    def _load(self, transport: Transport, key: str, request: Mapping[str, Any], seconds: float) -> _Reply:
        data, reply = transport.load(request, seconds)
        found = _RANGE.fullmatch(reply.get("ContentRange") or "")
        first, total = (int(found[1]), int(found[3])) if found else (0, len(data))
        expected = int(found[2]) - first + 1 if found else int(reply["ContentLength"])
        if len(data) != expected:
            raise StoreError(
                f"cannot read {key} in {self.url}: received {len(data)} bytes instead of {expected}.",
                hint="repeat the command",
                transient=True,
            )
        md5 = _stated_md5(reply) if len(data) == total else None
        return _Reply(data, first, total, md5, reply.get("ETag"))

    def _connect(self) -> tuple[Any, str]:
        return self._connecting(self._settings.s3fs_options()), f"{self._bucket}/{self._prefix}".rstrip("/")


def _calling(method: str, request: Mapping[str, Any]) -> Callable[[Transport, float], Mapping[str, Any]]:
    return lambda transport, seconds: transport.call(method, request, seconds)


def _refused(error: StoreError, statuses: Collection[int]) -> bool:
    """Return whether a server may have refused a body's protection, and not the object."""
    _, status = response_code(error) or ("", 0)
    return status in statuses and not error.transient


def _info(key: str, size: Any, said: Mapping[str, Any]) -> ObjectInfo:
    modified = said.get("LastModified")
    return ObjectInfo(key, int(size), modified and modified.astimezone(UTC), said.get("ETag") or None)


def _version(reply: Mapping[str, Any]) -> str | None:
    """Return an object's version id; `null` is the id of objects in buckets without versioning."""
    found = reply.get("VersionId")
    return None if found in (None, "", "null") else str(found)


def _stated_md5(reply: Mapping[str, Any]) -> str | None:
    """Return the MD5 of an object that was stored in one part and is not encrypted with keys of its own."""
    etag = _ETAG.fullmatch(reply.get("ETag") or "")
    encrypted = reply.get("SSECustomerAlgorithm") or "kms" in (reply.get("ServerSideEncryption") or "")
    return etag[1] if etag and not encrypted else None
