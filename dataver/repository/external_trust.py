"""Trust in places of external files: a place is read only if the user of this machine permits it.

The idea: a repository is written by others, and an external pack in it contains a place and a key. Reads use
this user's files and credentials, so the repository alone must not determine them: it could make a reader
open any local file, or send requests to hosts that only the reader can reach. A place is read if it is

1. at or below the URL of a table `[stores."URL"]` of the configuration with `external = true`. The longest
   URL applies, so a part of a place can be excluded with `external = false`. For folders only the user's file
   is used; for other places also the project's, which is committed and may be written by others.
2. in `DATAVER_EXTERNAL`, URLs separated by spaces.
3. in the bucket, or on the host, of the repository itself, which the user has opened.

Redirects of a web server are followed only to permitted places.

`allow` changes the user's file: passing a place to `add-external` permits it.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.formats.external import check_place
from dataver.machine.configuration import (
    EXTERNAL,
    below,
    change_value,
    configuration_files,
    options_for,
    read_configuration,
    user_config_path,
    write_text,
)
from dataver.storage import Store, open_store
from dataver.storage.url import check_spelling
from dataver.user import expand_user

# Imports in functions: few repositories refer to files on web servers.

__all__ = ["allow", "folder_of", "is_allowed", "open_place", "place_of", "refuse_unless_allowed"]

_VARIABLE = "DATAVER_EXTERNAL"
_FOLDER = "file://"
_SAME = {"s3a": "s3", "gcs": "gs", "local": "file", "ssh": "sftp"}  # names of one protocol


def place_of(url: str | Path) -> str:
    """Return a folder or URL in the form used in external packs: `file://` and the real path, or the URL.

    Raises:
        InvalidInput: not a valid place.
    """
    text = str(url)
    check_spelling(text)
    protocol, parted, rest = text.partition("://")
    protocol = _SAME.get(protocol.lower(), protocol.lower())
    if not parted or protocol == "file":
        path = expand_user(unquote(rest) if parted else text)
        return check_place(_FOLDER + quote(os.path.realpath(path), safe="/+,;=~ "))
    return check_place(f"{protocol}://{rest.rstrip('/')}")


def folder_of(place: str) -> Path | None:
    """Return the path of a place that is a local folder, else None."""
    return Path(unquote(place.removeprefix(_FOLDER))) if place.startswith(_FOLDER) else None


def refuse_unless_allowed(place: str, repository: str) -> None:
    """Raise an error for a place that is not permitted.

    Args:
        place: a place, or the URL of an object.
        repository: the URL of the repository that refers to it.

    Raises:
        StoreError: with the command that permits the place.
    """
    if not is_allowed(place, repository):
        raise StoreError(
            f"{place} is outside of the repository {repository}, and reading it is not permitted.",
            hint="if you trust the writers of the repository: "
            f"dataver config set --user 'stores.{place}.{EXTERNAL}' true",
        )


def is_allowed(place: str, repository: str) -> bool:
    """Return whether external files may be read from a place; for the rules see the module."""
    folder = folder_of(place)
    if folder is not None:
        place = place_of(place)  # the target of links
    found = _configured(place, folder is not None)
    if found is not None:
        return found
    if any(below(place, _normal(each)) for each in os.environ.get(_VARIABLE, "").split()):
        return True
    home = _home(place)
    return home is not None and home == _home(repository)


def open_place(place: str, repository: str, options: Mapping[str, Any] | None = None) -> Store:
    """Return the store of a permitted place.

    Args:
        place: the place.
        repository: the URL of the repository that refers to it, or the place itself if the user gave it.
        options: storage options; None means the configured ones.
    """
    folder = folder_of(place)
    options = options_for(place) if options is None else options
    if place.startswith(("http://", "https://")):
        from dataver.storage.http_store import HttpStore

        return HttpStore(place, options, partial(_refuse_redirect, place, repository))
    return open_store(place if folder is None else folder, options)


def _refuse_redirect(place: str, repository: str, url: str) -> None:
    """Raise an error for a redirect to a place that is not permitted, unless it only adds TLS."""
    parts = urlsplit(url)
    target = f"{parts.scheme}://{parts.netloc}"
    plain = f"{urlsplit(place).scheme if parts.scheme == 'https' else parts.scheme}://{parts.netloc}"
    if not is_allowed(plain + parts.path, repository) and not is_allowed(target + parts.path, repository):
        raise StoreError(
            f"{place} redirects to {target}, and reading external files there is not permitted.",
            hint=f"if you trust that server: dataver config set --user 'stores.{target}.{EXTERNAL}' true",
        )


def allow(place: str, repository: str) -> Path | None:
    """Permit a place in the user's file; return the file, or None if it was permitted before."""
    if is_allowed(place, repository):
        return None
    path = user_config_path()
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
        write_text(path, change_value(text, ("stores", place, EXTERNAL), value=True))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}.", hint=f"set {_VARIABLE}={place} instead"
        ) from error
    return path


def _configured(place: str, is_folder: bool) -> bool | None:
    """Return the configured permission of a place, or None."""
    best, verdict = "", None
    for path in configuration_files():
        if is_folder and path != user_config_path():
            continue
        for url, options in read_configuration(path).get("stores", {}).items():
            said, normal = options.get(EXTERNAL), _normal(url)
            if isinstance(said, bool) and below(place, normal) and len(normal) >= len(best):
                best, verdict = normal, said
    return verdict


def _normal(url: str) -> str:
    try:
        return place_of(url)
    except DataverError:
        return url


def _home(url: str) -> tuple[str, str] | None:
    """Return the protocol and the bucket or host of a URL, or None for a folder."""
    parts = urlsplit(url)
    protocol = _SAME.get(parts.scheme, parts.scheme)
    return (protocol, parts.netloc) if protocol != "file" and parts.netloc else None
