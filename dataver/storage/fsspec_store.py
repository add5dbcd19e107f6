"""A store behind any fsspec file system, such as Google Cloud, Azure or SFTP.

The idea: use the few calls that every implementation has (`cat_file`, `pipe_file`, `info`, `find`,
`rm_file`), check all lengths, and make the client on first use, once per process, so that a store survives a
fork. Object stores write atomically by themselves; elsewhere an object is written under a temporary name and
renamed.

Keeps invariants 2 and 4 as far as the file system allows; `exclusive_create` states how far.
"""

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from dataver.errors import AlreadyExists, DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.log import logged_request
from dataver.storage.base import TEMPORARY, Data, ObjectInfo, Pin, Store, check_key, check_range, joined
from dataver.storage.retry import ATTEMPTS, DEADLINE, Budget, retry
from dataver.storage.settings import secret_names, without_secrets
from dataver.storage.translate import response_code, translate

# Imports in functions: fsspec and the packages of clouds are needed when a client is made.

__all__ = ["NO_STORE", "FsspecStore"]

T = TypeVar("T")

_ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"}
"""Protocols whose uploads become visible only when complete."""

_CONDITIONAL = {"gs", "gcs", "abfs", "abfss", "az"}
"""Protocols whose fsspec packages pass mode="create" to the server; the probe decides."""

_UNCACHED = {"gs", "gcs", "abfs", "abfss", "az", "oss"}
"""Protocols whose packages take `use_listings_cache`."""

_GOOGLE = {"gs", "gcs"}
"""Protocols of gcsfs."""

_GOOGLE_LISTING = "b/{}/o"
"""The path of gcsfs's requests for listings."""

_ONE_AT_A_TIME = {"sftp", "ssh"}
"""Protocols whose clients mix up replies when used by several threads; paramiko's then waits forever."""

_LOOKING = {"read", "look at"}  # operations that fail on a folder with the key's name

NO_STORE = "repeat the command; if that does not help, look for a proxy between here and the store"
"""Hint where a reply is not the store's."""

_FIRST = 5  # attempts while a store has not answered once; about a second

_NO_SUCH_RANGE = 416  # RFC 9110, 15.5.17

_SLOWEST = 256 * 1024  # bytes a second; below that a transfer counts as hanging

_SERVER = re.compile("account|endpoint|host|port|server|url", re.IGNORECASE)
"""Options without which a URL may mean a store elsewhere."""

_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class FsspecStore(Store):
    """The store contract on top of fsspec.

    Args:
        url: any URL fsspec knows.
        storage_options: passed to the file system; they stay in this object and are never displayed.

    Raises:
        InvalidInput: the protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._protocol = url.partition("://")[0].lower()
        self._address = url.rstrip("/")
        self._options = dict(storage_options or {})
        self._clients: dict[int, tuple[Any, str]] = {}  # by process: a client breaks in a forked child
        self._turns: dict[int, threading.RLock] = {}
        self._reached = False
        self._budget = Budget()
        self.url = self._address
        self.exclusive_create = self._protocol in _CONDITIONAL
        _require_package(self._protocol)

    def __getstate__(self) -> dict[str, Any]:
        named = sorted(secret_names(self._options))
        if named:
            raise InvalidInput(
                f"the store {self.url} has literal secrets ({', '.join(named)}), which are not pickled.",
                hint="give credentials through the environment or a profile",
            )
        return self.__dict__ | {"_clients": {}, "_turns": {}, "_reached": False, "_budget": Budget()}

    @property
    def location(self) -> str:
        """See `Store.location`."""
        return " ".join([self.url, *sorted(_whereabouts(without_secrets(self._options)))])

    @property
    def plain_options(self) -> Mapping[str, Any] | None:
        """See `Store.plain_options`."""
        return without_secrets(self._options) or None

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        first, length = check_range(start, length)
        if length == 0:
            self._check_start(key, first)
            return b""
        end = None if length is None else first + length

        def read(_left: float) -> bytes:
            whole = start is None and length is None
            data = self._cat(key) if whole else self._cat(key, first, end)
            if length is not None and len(data) != length:
                raise self._wrong_length(key, first, length, len(data))
            if first and not data:  # at the end, or past it?
                self._check_start(key, first)
            return data

        check_key(key)
        return self._retry(read)

    def get_bounded(self, key: str, most: int) -> bytes:
        """See `Store.get_bounded`."""
        check_key(key)
        data = self._retry(lambda _left: self._cat(key, 0, most + 1))
        if len(data) > most:
            raise self._too_long(key, self.stat(key).size, most)
        return data

    def _cat(self, key: str, *span: int | None) -> bytes:
        """Return an object, or the available part of a range of it."""
        file_system, root = self._client()
        try:
            with self._translating("read", key):
                return bytes(file_system.cat_file(f"{root}/{key}", *span))
        except StoreError as error:
            # Azure refuses a range that begins at the end or past it
            if (response_code(error.__cause__ or error) or ("", 0))[1] != _NO_SUCH_RANGE:
                raise
            return b""

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        check_range(0, length)
        size = self.stat(key).size
        wanted = min(length, size)
        return self.get(key, size - wanted, wanted), size

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        check_key(key)
        body = joined(data)
        self._retry(lambda _left: self._write(key, body), size=len(body))

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`."""
        check_key(key)
        body = joined(data)
        if self.exclusive_create:
            file_system, root = self._client()
            with self._translating("create", key):
                file_system.pipe_file(f"{root}/{key}", body, mode="create")
            return
        if self.exists(key):
            raise AlreadyExists(f"{key} in {self.url} exists already.")
        self._write(key, body)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        check_key(key)

        def remove(_left: float) -> None:
            file_system, root = self._client()
            with self._translating("delete", key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                file_system.rm_file(f"{root}/{key}")

        self._retry(remove)

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        check_key(key)

        def look(_left: float) -> dict[str, Any]:
            file_system, root = self._client()
            with self._translating("look at", key):
                file_system.invalidate_cache()
                found: dict[str, Any] = file_system.info(f"{root}/{key}")
                return found

        found = self._retry(look)
        if found.get("type", "file") != "file":
            raise NotFound(f"{key} in {self.url} does not exist.")
        if found.get("size") is None:
            raise StoreError(f"cannot look at {key} in {self.url}: the reply names no size.", hint=NO_STORE)
        return _info(key, found)

    def pin(self, key: str, version: str | None = None) -> Pin:
        """See `Store.pin`."""
        self._refuse_version(key, version)
        info = self.stat(key)
        return Pin(info.size, info.etag, None, info.modified)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)

        def find(_left: float) -> dict[str, Mapping[str, Any]]:
            file_system, root = self._client()
            with self._translating("list", folder):
                file_system.invalidate_cache()
                found = self._found(file_system, f"{root}/{folder}" if folder else root)
            return {name.removeprefix(f"{root}/"): one for name, one in found.items()}

        for key, one in sorted(self._retry(find).items()):
            wanted = key.startswith(prefix) and (after is None or key > after)
            if wanted and not key.rpartition("/")[2].startswith(TEMPORARY):
                yield _info(key, one)

    def _found(self, file_system: Any, top: str) -> Mapping[str, Mapping[str, Any]]:
        """Return all files below a folder; a folder that cannot be listed is an error, not an empty one."""
        if self._protocol not in _ATOMIC:
            return dict(_walk(file_system, top))
        try:
            found = file_system.find(top, detail=True)
        except FileNotFoundError:
            return {}
        if not isinstance(found, Mapping):  # adlfs: some reply made a file of the folder
            raise self._no_listing(top)
        return found

    def _no_listing(self, folder: str) -> StoreError:
        return StoreError(
            f"cannot list {folder or 'the objects'} in {self.url}: the reply is not a listing.",
            hint=NO_STORE,
            transient=True,
        )

    def _write(self, key: str, body: bytes) -> None:
        file_system, root = self._client()
        path = f"{root}/{key}"
        with self._translating("write", key):
            if self._protocol in _ATOMIC:
                file_system.pipe_file(path, body)
                return
            folder = path.rpartition("/")[0]
            temporary = f"{folder}/{TEMPORARY}{secrets.token_hex(12)}"
            file_system.makedirs(folder, exist_ok=True)
            try:
                file_system.pipe_file(temporary, body)
                file_system.mv(temporary, path)
            except BaseException:
                with contextlib.suppress(Exception):  # it may not exist
                    file_system.rm_file(temporary)
                raise

    def _client(self) -> tuple[Any, str]:
        """Return this process's file system and the path of the store in it."""
        found = self._clients.get(os.getpid())
        if found is None:
            # two threads may both get here; an extra client does no harm, a lock held over a fork would
            with self._translating("open", ""):
                found = self._connect()
            found = self._clients.setdefault(os.getpid(), found)
        return found

    def _client_options(self) -> dict[str, Any]:
        """Return the options of the file system."""
        uncached = {"use_listings_cache": False} if self._protocol in _UNCACHED else {}
        return self._options | {"skip_instance_cache": True} | uncached

    def _connect(self) -> tuple[Any, str]:
        from fsspec.core import get_filesystem_class, url_to_fs

        options = self._client_options()
        if self._protocol in _GOOGLE:
            from gcsfs.core import GCSFileSystem

            # gcsfs's default class queries the bucket's kind by gRPC on every call until it gets a reply:
            # up to a minute without a server, and gRPC logs to the terminal (gcsfs 2026.10)
            options = get_filesystem_class(self._protocol)._get_kwargs_from_urls(self._address) | options
            refusal = self._no_listing("")

            class Checked(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
                async def _call(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
                    reply = await super()._call(method, path, *args, **kwargs)
                    # a foreign JSON object reads as a listing without objects
                    if path == _GOOGLE_LISTING and reply.get("kind") != "storage#objects":
                        raise refusal
                    return reply

            return Checked(**options), self._address.partition("://")[2]
        file_system, path = url_to_fs(self._address, **options)
        return file_system, str(path).rstrip("/")

    def _retry(self, call: Callable[[float], T], *, size: int = 0) -> T:
        # a store that never answered is probably misspelled: fail early
        attempts = ATTEMPTS if self._reached else _FIRST
        result = retry(call, deadline=DEADLINE + size / _SLOWEST, attempts=attempts, budget=self._budget)
        self._reached = True
        return result

    @contextlib.contextmanager
    def _translating(self, doing: str, key: str) -> Iterator[None]:
        try:
            with self._turn(), logged_request(doing, key, self.url):
                yield
        except DataverError:
            raise
        except (IsADirectoryError, NotADirectoryError) as error:
            if doing not in _LOOKING:
                raise translate(error, doing=doing, key=key, url=self.url) from error
            raise NotFound(f"{key} in {self.url} does not exist.") from error
        except Exception as error:
            unclear = isinstance(error, OSError) and error.errno is None  # SFTP: "failure" for many errors
            if unclear and doing in _LOOKING and self._is_folder(key):
                raise NotFound(f"{key} in {self.url} does not exist.") from error
            raise translate(error, doing=doing, key=key, url=self.url) from error

    def _is_folder(self, key: str) -> bool:
        if self._protocol not in _ONE_AT_A_TIME:
            return False
        file_system, root = self._client()
        with self._turn():
            return bool(file_system.isdir(f"{root}/{key}"))

    def _turn(self) -> contextlib.AbstractContextManager[object]:
        """Return a lock on the file system, if it supports only one thread at a time."""
        if self._protocol not in _ONE_AT_A_TIME:
            return contextlib.nullcontext()
        return self._turns.setdefault(os.getpid(), threading.RLock())  # a parent's lock may never be released

    def _check_start(self, key: str, first: int) -> None:
        size = self.stat(key).size
        if first > size:
            raise self._too_short(key, size, first)

    def _wrong_length(self, key: str, first: int, length: int, got: int) -> Exception:
        size = self.stat(key).size
        if first + length > size:
            return self._too_short(key, size, first + length)
        return StoreError(
            f"cannot read {key} in {self.url}: received {got} bytes instead of {length}.",
            hint="repeat the command",
            transient=True,
        )

    def _too_short(self, key: str, size: int, end: int) -> IntegrityError:
        return IntegrityError(f"{key} in {self.url} ends at byte {size}, before {end}.")


def _walk(file_system: Any, top: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the files below a folder; fsspec's own walk ignores folders that it fails to list."""
    ahead = [top]
    while ahead:
        folder = ahead.pop()
        try:
            found = file_system.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            continue  # nothing was written yet, or it was deleted meanwhile
        except OSError as error:
            if error.errno is None and file_system.isfile(folder):  # SFTP: "failure" for many errors
                continue
            raise
        for one in found:
            if one["type"] == "directory":
                ahead.append(one["name"])
            else:
                yield one["name"], one


def _require_package(protocol: str) -> None:
    from fsspec.registry import get_filesystem_class

    try:
        get_filesystem_class(protocol)
    except ValueError as error:
        raise InvalidInput(
            f"fsspec does not know the protocol {protocol}://.",
            hint="use a folder, s3://, gs://, abfs://, sftp:// …; `pip install` the package that adds it",
        ) from error
    except ImportError as error:
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        package = (cause.name or protocol).partition(".")[0]
        raise InvalidInput(
            f"{protocol}:// needs the Python package {package}, which is not installed.",
            hint=f"pip install {package}",
        ) from error


def _info(key: str, found: Mapping[str, Any]) -> ObjectInfo:
    time = next((found[name] for name in _TIMES if found.get(name)), None)
    if isinstance(time, str):
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(time)
    if isinstance(time, (int, float)):
        time = datetime.fromtimestamp(time, UTC)
    if isinstance(time, datetime):
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    else:
        time = None
    etag = found.get("ETag") or found.get("etag")
    return ObjectInfo(key, int(found["size"]), time, str(etag) if etag else None)


def _whereabouts(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options, at any depth, that identify the server or account."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _whereabouts(value)
        elif _SERVER.search(name):
            yield f"{name}={value}"
