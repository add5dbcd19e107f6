"""Who sends requests to S3: botocore in the caller's own thread, or s3fs on its event loop.

One idea: both take the same options and make the same requests, one a call, and give back what botocore's
parsers made of the reply; all that is decided about them (conditions, checksums, lengths, repetitions) is
decided above. `ByThread` is the faster one, because the callers have threads already, which hash, send and
receive side by side (`docs/performance.md`); it needs no package that s3fs does not need. `ByLoop` is for
options that only s3fs knows, such as a session of one's own. `connect` chooses.

Both keep the time that a call gives them; neither repeats anything.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from dataver.storage.body import Body, Sending
from dataver.storage.retry import DEADLINE

__all__ = ["ByLoop", "ByThread", "Loaded", "Transport", "connect", "seconds_for"]

_CONFIG: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "retries": {"total_max_attempts": 1, "mode": "standard"},  # ours keep a deadline and heed Retry-After
    "connect_timeout": 10,
    "read_timeout": 20,  # without one byte; more than twice the longest first byte met on a busy server
    "max_pool_connections": 32,
}

_LOGIN = {
    "key": "aws_access_key_id",
    "username": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "password": "aws_secret_access_key",
    "token": "aws_session_token",
}
_UNDERSTOOD = {
    *_LOGIN,
    *("anon", "endpoint_url", "use_ssl", "profile"),
    *("client_kwargs", "config_kwargs", "requester_pays", "s3_additional_kwargs"),
}
_MEANINGLESS = {
    *("default_block_size", "default_fill_cache", "default_cache_type", "max_concurrency"),
    *("fixed_upload_size", "local_expiry_check", "skip_instance_cache", "use_listings_cache"),
    *("listings_expiry_time", "max_paths"),
}
"""Options of s3fs about what we do not use: its files, its multipart uploads, its caches."""

_CRC = "x-amz-checksum-crc32"
_SENT = 256 * 1024  # bytes that go with the request; more are sent in parts, as the server wants them
_RECEIVED = 1024 * 1024
_SLOWEST = 256 * 1024  # bytes a second; below that a transfer counts as hanging


class Loaded(NamedTuple):
    """A body, and what came with it by the names of S3's API."""

    data: bytes
    reply: Mapping[str, Any]


class Transport(Protocol):
    """What the S3 store asks for; may be used by many threads, but not in a forked child.

    A request's `Body` is a `dataver.storage.body.Body`.
    """

    def call(self, method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Make one request that has a short reply; foreign exceptions pass through."""

    def load(self, request: Mapping[str, Any], seconds: float) -> Loaded:
        """Make one `get_object` and read all of its body; its length is not checked."""


def connect(options: Mapping[str, Any]) -> Transport:
    """Return the fastest transport that understands the options, which are those of s3fs."""
    return ByThread.of(options) or ByLoop(options)


def seconds_for(size: int) -> float:
    """Return how long a request with a body of `size` bytes may take."""
    return DEADLINE + size / _SLOWEST


class ByThread:
    """botocore: blocking sockets, one for each thread that sends."""

    def __init__(self, client: Any, arguments: Mapping[str, Any]) -> None:
        self._client = client
        self._arguments = arguments

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "ByThread | None":
        """Connect, or return None where the options need s3fs."""
        given = {name: value for name, value in options.items() if value is not None}
        if given.keys() - _UNDERSTOOD - _MEANINGLESS:
            return None
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config

        settings = _CONFIG | dict(given.get("config_kwargs") or {})
        login = {name: given[word] for word, name in _LOGIN.items() if word in given}
        words = dict(given.get("client_kwargs") or {})
        if given.get("anon"):
            settings["signature_version"] = UNSIGNED
            words = {name: value for name, value in words.items() if name not in _LOGIN.values()}
            login = {}
        try:
            config = Config(**settings)
        except TypeError:  # a setting of aiobotocore's
            return None
        words |= login | {name: given[name] for name in ("endpoint_url",) if name in given}
        words.setdefault("use_ssl", given.get("use_ssl", True))
        session = botocore.session.Session(profile=given.get("profile"))
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        payer = {"RequestPayer": "requester"} if given.get("requester_pays") else {}
        more = dict(given.get("s3_additional_kwargs") or {})
        client = session.create_client("s3", config=config, **words)
        client.meta.events.register("before-call.s3.PutObject", _Signing(client.meta.config))
        return cls(client, more | payer)

    def call(self, method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """See `Transport.call`."""
        words = self._completed(method, request)
        body, sending = words.get("Body"), None
        if isinstance(body, Body):
            # as a file it goes in parts, each with its own time-out, and not before the server wants it
            sending = body.sending(time.monotonic() + seconds) if len(body) > _SENT else None
            words["Body"] = sending or body.whole()
        try:
            reply: Mapping[str, Any] = getattr(self._client, method)(**words)
            return reply
        except Exception as error:
            if sending is not None and sending.failed is not None:
                raise sending.failed from error
            if _cut(error):
                raise ConnectionError("TLS connection cut") from error
            raise
        finally:
            if sending is not None:
                sending.close()

    def load(self, request: Mapping[str, Any], seconds: float) -> Loaded:
        """See `Transport.load`."""
        began = time.monotonic()
        reply = self.call("get_object", request, seconds)
        end = began + max(seconds, seconds_for(int(reply["ContentLength"])))
        body = reply["Body"]
        try:
            return Loaded(b"".join(_parts(body, end)), reply)
        except Exception as error:
            if _cut(error):
                raise ConnectionError("TLS connection cut") from error
            raise
        finally:
            body.close()

    def _completed(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request with those of the arguments for all requests that it can have."""
        meta = self._client.meta
        known = meta.service_model.operation_model(meta.method_to_api_mapping[method]).input_shape.members
        return {name: value for name, value in self._arguments.items() if name in known} | dict(request)


class ByLoop:
    """s3fs: all requests of a process on one event loop."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import fsspec

        config = _CONFIG | dict(options.get("config_kwargs") or {})
        fixed = {"use_listings_cache": False, "skip_instance_cache": True, "asynchronous": False}
        self._system = fsspec.filesystem("s3", **dict(options) | {"config_kwargs": config} | fixed)
        self._system.retries = 1  # ours are enough: with theirs, it took 30 s to tell of a 503

    def call(self, method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """See `Transport.call`."""
        from fsspec.asyn import sync

        if isinstance(request.get("Body"), Body):
            request = dict(request) | {"Body": request["Body"].whole()}
        reply: Mapping[str, Any] = sync(self._system.loop, self._ask, method, request, timeout=seconds)
        return reply

    def load(self, request: Mapping[str, Any], seconds: float) -> Loaded:
        """See `Transport.load`."""
        from fsspec.asyn import sync

        loaded: Loaded = sync(self._system.loop, self._download, request, timeout=seconds)
        return loaded

    async def _ask(self, method: str, request: Mapping[str, Any]) -> Any:
        return await self._system._call_s3(method, **request, **self._system.req_kw)

    async def _download(self, request: Mapping[str, Any]) -> Loaded:
        import asyncio

        reply = await self._ask("get_object", request)
        body = reply["Body"]
        try:
            # nothing is read for longer than this without the whole request being given up
            return Loaded(
                await asyncio.wait_for(body.read(), seconds_for(int(reply["ContentLength"]))), reply
            )
        finally:
            body.close()


@lru_cache
def _descriptions(path: str | None) -> Any:
    """Return botocore's descriptions of services, read once: that is most of making a client (80 ms)."""
    from botocore.loaders import create_loader

    return create_loader(path)


class _Signing:
    """What botocore is told about the signature of a PUT.

    It leaves out the SHA-256 of a body that TLS and a checksum protect, but looks for no CRC32 but its own:
    so it is told of ours. Without TLS it hashes every body, also those that may be left out.
    """

    def __init__(self, config: Any) -> None:
        from botocore.config import Config

        said = dict(getattr(config, "s3", None) or {})
        wanted = said.get("payload_signing_enabled") is None
        self._unsigned = (
            config.merge(Config(s3=said | {"payload_signing_enabled": False})) if wanted else None
        )

    def __call__(self, params: dict[str, Any], **_: Any) -> None:
        context, body = params["context"], params.get("body")
        if _CRC in params["headers"]:
            known = {"algorithm": "crc32", "in": "header", "name": _CRC}
            context.setdefault("checksum", {}).setdefault("request_algorithm", known)
        if self._unsigned is not None and isinstance(body, Sending) and body.unsigned:
            context["client_config"] = self._unsigned


def _parts(body: Any, end: float) -> Iterator[bytes]:
    while part := body.read(_RECEIVED):
        yield part
        if time.monotonic() > end:
            raise TimeoutError("receiving took too long")


def _cut(error: BaseException) -> bool:
    """Tell whether a TLS error is only a connection that ended; botocore calls them all SSLError."""
    return any(isinstance(one, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for one in _behind(error))


def _behind(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        inner = next((one for one in seen.args if isinstance(one, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
