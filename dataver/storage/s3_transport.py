"""Transports of S3 requests: botocore in the caller's thread, or s3fs on its event loop.

The idea: both take the same options, make one request per call, and return the reply as parsed by botocore.
The caller decides everything else (conditions, checksums, lengths, retries). `ByThread` is faster, because
the callers have threads already, which hash, send and receive concurrently (`docs/performance.md`); it needs
no package that s3fs does not need. `ByLoop` is for options that only s3fs supports, such as a custom session.
`connect` chooses.

Both observe the time limit of a call; neither retries.
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from dataver.storage.body import Body, BodyReader
from dataver.storage.retry import DEADLINE

# Imports in functions: each transport imports its own packages, botocore or s3fs with aiobotocore.

__all__ = ["ByLoop", "ByThread", "Loaded", "Transport", "connect", "seconds_for"]

_CONFIG: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "retries": {
        "total_max_attempts": 1,
        "mode": "standard",
    },  # our retries observe a deadline and Retry-After
    "connect_timeout": 10,
    "read_timeout": 20,  # without one byte; more than twice the longest first byte measured on a busy server
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
"""Options of s3fs that do not apply here: its files, its multipart uploads, its caches."""

_TELLTALE = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
"""Loggers that write headers and bodies at level DEBUG: session tokens, and keys in replies of STS."""

_CHAIN = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "the AWS credentials file",
    "config-file": "the AWS configuration file",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
    "sso": "single sign-on",
    "custom-process": "a credential_process",
    "container-role": "the role of the container",
    "iam-role": "the role of the instance",
}
"""botocore's names of the links of its chain; unknown ones are printed as they are."""
_OF_PROFILES = frozenset({"shared-credentials-file", "config-file", "assume-role", "sso", "custom-process"})

_CRC = "x-amz-checksum-crc32"
_SENT = 256 * 1024  # bytes sent with the request; more are sent in parts, when the server accepts them
_RECEIVED = 1024 * 1024
_SLOWEST = 256 * 1024  # bytes a second; a slower transfer counts as hanging


class Loaded(NamedTuple):
    """A body, and the other fields of the reply by the names of S3's API."""

    data: bytes
    reply: Mapping[str, Any]


class Transport(Protocol):
    """Interface that the S3 store uses; may be used by many threads, but not in a forked child.

    A request's `Body` is a `dataver.storage.body.Body`.
    """

    @property
    def endpoint(self) -> str:
        """The server's address."""

    def login(self) -> str:
        """Return the source of the credentials, as text without secrets.

        Raises:
            NoCredentialsError: botocore's; there are none.
        """

    def call(self, method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Make one request with a short reply; foreign exceptions are not translated."""

    def load(self, request: Mapping[str, Any], seconds: float) -> Loaded:
        """Make one `get_object` and read all of its body; its length is not checked."""


def connect(options: Mapping[str, Any]) -> Transport:
    """Return the fastest transport that supports the options, which are those of s3fs."""
    for name in _TELLTALE:
        if (logger := logging.getLogger(name)).level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    return ByThread.of(options) or ByLoop(options)


def seconds_for(size: int) -> float:
    """Return the time limit of a request with a body of `size` bytes."""
    return DEADLINE + size / _SLOWEST


class ByThread:
    """botocore: blocking sockets, one per sending thread."""

    def __init__(self, client: Any, arguments: Mapping[str, Any], login: Callable[[], str]) -> None:
        self._client = client
        self._arguments = arguments
        self.login = login

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "ByThread | None":
        """Connect, or return None if the options need s3fs."""
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
        except TypeError:  # a setting of aiobotocore
            return None
        words |= login | {name: given[name] for name in ("endpoint_url",) if name in given}
        words.setdefault("use_ssl", given.get("use_ssl", True))
        session = botocore.session.Session(profile=given.get("profile"))
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        payer = {"RequestPayer": "requester"} if given.get("requester_pays") else {}
        more = dict(given.get("s3_additional_kwargs") or {})
        client = session.create_client("s3", config=config, **words)
        client.meta.events.register("before-call.s3.PutObject", _Signing(client.meta.config))
        given_login = _given_login(anon=bool(given.get("anon")), literal=bool(login))
        return cls(client, more | payer, lambda: given_login or _source(session, session.get_credentials()))

    @property
    def endpoint(self) -> str:
        """See `Transport.endpoint`."""
        return str(self._client.meta.endpoint_url)

    def call(self, method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """See `Transport.call`."""
        words = self._completed(method, request)
        body, sending = words.get("Body"), None
        if isinstance(body, Body):
            # as a file it is sent in parts, each with its own timeout, and not before the server accepts it
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
        """Return the request with the common arguments that it supports."""
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
        self._system.retries = 1  # ours are enough: with theirs, a 503 was reported after 30 s

    @property
    def endpoint(self) -> str:
        """See `Transport.endpoint`."""
        from fsspec.asyn import sync

        client = sync(self._system.loop, self._system.set_session)
        return str(client.meta.endpoint_url)

    def login(self) -> str:
        """See `Transport.login`."""
        from fsspec.asyn import sync

        system = self._system
        given = _given_login(anon=bool(system.anon), literal=bool(system.key))
        if given is not None:
            return given
        sync(system.loop, system.set_session)
        return _source(system.session, sync(system.loop, system.session.get_credentials))

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
            # limits each read, so that the request cannot hang longer than this
            return Loaded(
                await asyncio.wait_for(body.read(), seconds_for(int(reply["ContentLength"]))), reply
            )
        finally:
            body.close()


def _given_login(*, anon: bool, literal: bool) -> str | None:
    """Return the login that the options determine, or None if the AWS chain is used."""
    if anon:
        return "none: requests are not signed"
    return "the storage options" if literal else None


def _source(session: Any, credentials: Any) -> str:
    """Return the link of the AWS chain that provided the credentials, and the profile."""
    from botocore.exceptions import NoCredentialsError

    if credentials is None:
        raise NoCredentialsError
    profile = session.get_config_variable("profile")
    source = _CHAIN.get(credentials.method, str(credentials.method))
    return f"{source}, profile {profile}" if profile and credentials.method in _OF_PROFILES else source


@lru_cache
def _descriptions(path: str | None) -> Any:
    """Return botocore's service descriptions, read once: loading them is most of making a client (80 ms)."""
    from botocore.loaders import create_loader

    return create_loader(path)


class _Signing:
    """Settings of botocore's signature of a PUT.

    botocore omits the SHA-256 of a body that TLS and a checksum protect, but recognises only its own CRC32,
    so ours is passed to it. Without TLS it hashes every body, also those that may be omitted.
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
        if self._unsigned is not None and isinstance(body, BodyReader) and body.unsigned:
            context["client_config"] = self._unsigned


def _parts(body: Any, end: float) -> Iterator[bytes]:
    while part := body.read(_RECEIVED):
        yield part
        if time.monotonic() > end:
            raise TimeoutError("receiving took too long")


def _cut(error: BaseException) -> bool:
    """Return whether a TLS error is only a lost connection; botocore reports both as SSLError."""
    return any(isinstance(one, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for one in _behind(error))


def _behind(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        inner = next((one for one in seen.args if isinstance(one, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
