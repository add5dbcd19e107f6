"""From a URL to its store.

One idea: a folder and S3 have stores of their own, made for their guarantees; every other URL goes through
the fsspec file system that owns its protocol, installed by whoever needs it. Foreign packages are imported
here and in the stores, when such a URL is opened, never before.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dataver.errors import InvalidInput
from dataver.storage.base import Store
from dataver.storage.local import LocalStore

__all__ = ["open_store"]

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_LOCAL = {"file", "local"}
_S3 = {"s3", "s3a"}
_READ_ONLY = {"http", "https"}


def open_store(url: str | Path, storage_options: Mapping[str, Any] | None = None) -> Store:
    """Return the store at `url`; nothing is contacted until it is used.

    Args:
        url: a folder, or a URL such as `s3://bucket/prefix`, `gs://…`, `abfs://…`, `sftp://…`, `https://…`.
        storage_options: handed to the fsspec file system as they are; for S3 the words of
            `dataver.storage.settings`, and s3fs's own. Without them the AWS settings apply.

    Raises:
        InvalidInput: the URL or the options cannot be used, or the package for the protocol is not installed.
    """
    text = str(url)
    if not text or "\x00" in text:
        raise InvalidInput(
            "an empty text is no repository's URL." if not text else "a URL holds no NUL character."
        )
    if "::" in text and "://" in text:
        raise InvalidInput(f"{_shown(text)} is a chain of URLs; a repository needs a single one.")
    found = _URL.match(text)
    if found is None:
        return _local(Path(text), storage_options)
    protocol, rest = found[1].lower(), found[2]
    if protocol in _LOCAL:
        return _local(Path(unquote(rest)), storage_options)
    if protocol == "dataver":
        raise InvalidInput(
            f"{_shown(text)} names a version, not a repository.", hint="use a folder or a URL such as s3://…"
        )
    _refuse_secrets(text, protocol)
    if protocol in _READ_ONLY:
        from dataver.storage.http_store import HttpStore

        return HttpStore(text, storage_options)
    if protocol in _S3:
        from dataver.storage.s3 import S3Store

        return S3Store(rest, storage_options)
    from dataver.storage.fsspec_store import FsspecStore

    return FsspecStore(text, storage_options)


def _local(path: Path, options: Mapping[str, Any] | None) -> Store:
    if options:
        raise InvalidInput(f"a folder takes no storage options, but {', '.join(sorted(options))} was given.")
    return LocalStore(path)


def _refuse_secrets(url: str, protocol: str) -> None:
    try:
        parts = urlsplit(url)
        literal = parts.password is not None or (protocol in _S3 and "@" in parts.netloc)
    except ValueError as error:
        raise InvalidInput("the repository's URL is malformed.") from error
    if literal or parts.query:
        raise InvalidInput(
            f"{_shown(url)}: credentials and options do not belong in a URL, which is stored and printed.",
            hint="use the environment, a profile, or storage_options",
        )


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])
