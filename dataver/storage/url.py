"""Opening the store of a URL.

The idea: a folder and S3 have stores of their own that use their guarantees; every other URL goes through the
fsspec file system of its protocol, which the user installs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dataver.errors import InvalidInput
from dataver.storage.base import Store
from dataver.storage.local import LocalStore

# Imports in functions: each store is imported by the URLs that name it.

__all__ = ["check_spelling", "local_folder", "open_store"]

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_LOCAL = {"file", "local"}
_S3 = {"s3", "s3a"}
_READ_ONLY = {"http", "https"}
_ONE_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?!//)/*(.*)$", re.DOTALL)
_NO_COLON = re.compile(
    r"^(s3a?|gs|gcs|az|abfss?|adl|sftp|ssh|https?|file)//+(.*)$", re.DOTALL | re.IGNORECASE
)


def open_store(url: str | Path, storage_options: Mapping[str, Any] | None = None) -> Store:
    """Return the store at `url`, without contacting it.

    Args:
        url: a folder, or a URL such as `s3://bucket/prefix`, `gs://…`, `abfs://…`, `sftp://…`, `https://…`.
        storage_options: passed to the fsspec file system unchanged; for S3 the settings of
            `dataver.storage.settings`, and s3fs's own options. Without them the AWS settings apply.

    Raises:
        InvalidInput: the URL or the options are invalid, or the package for the protocol is not installed.
    """
    text = str(url)
    if not text or "\x00" in text:
        raise InvalidInput("the repository's URL is empty." if not text else "a URL holds no NUL character.")
    if "::" in text and "://" in text:
        raise InvalidInput(f"{_shown(text)} is a chain of URLs; a repository needs a single one.")
    check_spelling(text)
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


def check_spelling(url: str) -> None:
    """Reject a text that would name a local folder, but is a mistyped URL or an unexpanded variable.

    Raises:
        InvalidInput: the likely spelling is the hint.
    """
    mistyped = _ONE_SLASH.match(url) or _NO_COLON.match(url)
    if mistyped:
        scheme, rest = mistyped.groups()
        meant = f"file:///{rest}" if scheme.lower() == "file" else f"{scheme}://{rest}"
        as_url = f"write {_shown(meant)} for a URL, or " if len(scheme) > 1 else "write "  # C:\\ is a drive
        raise InvalidInput(
            f"{_shown(url)} is neither a URL nor a plain path.",
            hint=f"{as_url}./{_shown(url)} for a folder of that name",
        )
    found = _URL.match(url)
    if found and found[1].lower() in _LOCAL and not found[2].startswith("/"):
        raise InvalidInput(
            f"{url} is not absolute: a file URL has three slashes.", hint=f"write file:///{found[2]}"
        )
    if url.startswith("$"):
        raise InvalidInput(
            f"{url} starts with a variable that was not expanded.",
            hint=f"write its value, or ./{url} for a folder of that name",
        )


def local_folder(path: str | Path) -> Path:
    """Return the path of a local folder.

    Raises:
        InvalidInput: the path is a URL.
    """
    check_spelling(str(path))
    if _URL.match(str(path)):
        raise InvalidInput(f"{_shown(str(path))} is a URL, but a folder on this machine is needed.")
    return Path(path)


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
