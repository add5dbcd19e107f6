"""A store behind any fsspec file system, such as Google Cloud, Azure or SFTP.

One idea: use the few calls that every implementation has (`cat_file`, `pipe_file`, `info`, `find`,
`rm_file`), trust none of their lengths, and keep the client out of sight: it is made when first needed,
once a process, so that a store can be carried over a fork. Object stores write atomically by themselves; on
anything else an object is written under a temporary name and renamed.

Keeps invariants 2 and 4 as far as the file system lets it: `exclusive_create` says how far.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from dataver.errors import AlreadyExists, DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.storage.base import TEMPORARY, Data, ObjectInfo, Pin, Store, check_key, check_range, joined
from dataver.storage.retry import ATTEMPTS, DEADLINE, Budget, retry
from dataver.storage.settings import secret_names, without_secrets
from dataver.storage.translate import translate

__all__ = ["FsspecStore"]

T = TypeVar("T")

_ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"}
"""Protocols whose uploads appear at once when they are complete."""

_CONDITIONAL = {"gs", "gcs", "abfs", "abfss", "az"}
"""Protocols whose fsspec packages hand mode="create" to the server; the probe has the last word."""

_UNCACHED = {"gs", "gcs", "abfs", "abfss", "az", "oss"}
"""Protocols whose packages take `use_listings_cache`."""

_ONE_AT_A_TIME = {"sftp", "ssh"}
"""Protocols whose clients mix up the answers when several threads ask: paramiko's waits for ever then."""

_LOOKING = {"read", "look at"}  # where a folder of that name is no object

_FIRST = 5  # attempts while a store has not answered once; about a second

_SLOWEST = 256 * 1024  # bytes a second; below that a transfer counts as hanging

_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class FsspecStore(Store):
    """The contract on top of fsspec.

    Args:
        url: any URL fsspec knows.
        storage_options: handed to the file system; they stay in this object and are never shown.

    Raises:
        InvalidInput: the protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._protocol = url.partition("://")[0].lower()
        self._address = url.rstrip("/")
        self._options = dict(storage_options or {})
        self._clients: dict[int, tuple[Any, str]] = {}  # by process: a parent's client is dead in its child
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
            file_system, root = self._client()
            with self._translating("read", key):
                whole = start is None and length is None
                path = f"{root}/{key}"
                data = (
                    file_system.cat_file(path) if whole else file_system.cat_file(path, start=first, end=end)
                )
            if length is not None and len(data) != length:
                raise self._wrong_length(key, first, length, len(data))
            if first and not data:  # at the end, or past it?
                self._check_start(key, first)
            return bytes(data)

        check_key(key)
        return self._retry(read)

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
        return _info(key, self._look(key))

    def pin(self, key: str) -> Pin:
        """See `Store.pin`."""
        found = self._look(key)
        info, etag = _info(key, found), found.get("ETag") or found.get("etag")
        return Pin(info.size, str(etag) if etag else None, None, info.modified)

    def _look(self, key: str) -> dict[str, Any]:
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
        return found

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)

        def find(_left: float) -> dict[str, dict[str, Any]]:
            file_system, root = self._client()
            with self._translating("list", folder):
                file_system.invalidate_cache()
                try:
                    found: dict[str, dict[str, Any]] = file_system.find(
                        f"{root}/{folder}" if folder else root, detail=True
                    )
                except FileNotFoundError:
                    return {}
            return {name.removeprefix(f"{root}/"): one for name, one in found.items()}

        for key, one in sorted(self._retry(find).items()):
            wanted = key.startswith(prefix) and (after is None or key > after)
            if wanted and not key.rpartition("/")[2].startswith(TEMPORARY):
                yield _info(key, one)

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
                with contextlib.suppress(Exception):  # it may not be there
                    file_system.rm_file(temporary)
                raise

    def _client(self) -> tuple[Any, str]:
        """Return this process's file system and the path of the store in it."""
        found = self._clients.get(os.getpid())
        if found is None:
            # two threads may both come here; one client too many does no harm, a lock held over a fork would
            with self._translating("open", ""):
                found = self._connect()
            found = self._clients.setdefault(os.getpid(), found)
        return found

    def _connect(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        options = self._options | {"skip_instance_cache": True}
        if self._protocol in _UNCACHED:
            options["use_listings_cache"] = False
        file_system, path = url_to_fs(self._address, **options)
        return file_system, str(path).rstrip("/")

    def _retry(self, call: Callable[[float], T], *, size: int = 0) -> T:
        # a store that never answered is probably misspelled: say so soon
        attempts = ATTEMPTS if self._reached else _FIRST
        result = retry(call, deadline=DEADLINE + size / _SLOWEST, attempts=attempts, budget=self._budget)
        self._reached = True
        return result

    @contextlib.contextmanager
    def _translating(self, doing: str, key: str) -> Iterator[None]:
        try:
            with self._turn():
                yield
        except DataverError:
            raise
        except (IsADirectoryError, NotADirectoryError) as error:
            if doing not in _LOOKING:
                raise translate(error, doing=doing, key=key, url=self.url) from error
            raise NotFound(f"{key} in {self.url} does not exist.") from error
        except Exception as error:
            unclear = isinstance(error, OSError) and error.errno is None  # SFTP says "failure" of many things
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
        """Wait for the file system to be free, where it serves one thread at a time."""
        if self._protocol not in _ONE_AT_A_TIME:
            return contextlib.nullcontext()
        return self._turns.setdefault(os.getpid(), threading.RLock())  # a parent's may be held for ever

    def _check_start(self, key: str, first: int) -> None:
        size = self.stat(key).size
        if first > size:
            raise self._too_short(key, size, first)

    def _wrong_length(self, key: str, first: int, length: int, got: int) -> Exception:
        size = self.stat(key).size
        if first + length > size:
            return self._too_short(key, size, first + length)
        return StoreError(
            f"cannot read {key} in {self.url}: {got} bytes came instead of {length}.",
            hint="repeat the command",
            transient=True,
        )

    def _too_short(self, key: str, size: int, end: int) -> IntegrityError:
        return IntegrityError(f"{key} in {self.url} ends at byte {size}, before {end}.")


def _require_package(protocol: str) -> None:
    from fsspec.registry import get_filesystem_class

    try:
        get_filesystem_class(protocol)
    except ValueError as error:
        raise InvalidInput(
            f"{protocol}:// is no protocol that fsspec knows.",
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
    return ObjectInfo(key, int(found["size"]), time)
