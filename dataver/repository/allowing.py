"""From which places external files are read: only where somebody on this machine said so.

The idea: a repository is written by others, and an external pack in it names a place and a key. Reading there
happens with this user's files and credentials, so the repository alone must not decide it: else it could make
a reader open any file of the machine, or send requests to hosts that only the reader can reach. A place is
read from if it is

1. in a table of the configuration, `[stores."URL"]` with `external = true`, at or below that URL. The longest
   URL counts, so a part of a place can be taken out with `external = false`. For folders only the user's file
   counts, for other places the project's, too: it is meant to be committed, and may come from strangers.
2. in `DATAVER_EXTERNAL`, URLs with spaces between.
3. in the bucket, or on the host, that the repository itself is in, which whoever opened it has named.

`allow` writes the user's file: who names a place to `add-external` has said so.
"""

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.formats.external import check_place
from dataver.repository.configuration import (
    EXTERNAL,
    below,
    configuration_files,
    read_configuration,
    user_config_path,
)
from dataver.repository.toml_lines import change_value, write_text

__all__ = ["allow", "folder_of", "is_allowed", "place_of", "refuse_unless_allowed"]

_VARIABLE = "DATAVER_EXTERNAL"
_FOLDER = "file://"
_SAME = {"s3a": "s3", "gcs": "gs", "local": "file", "ssh": "sftp"}  # names of one protocol


def place_of(url: str | Path) -> str:
    """Return a folder or URL as external packs have it: `file://` and the real path, or the plain URL.

    Raises:
        InvalidInput: it cannot be one.
    """
    text = str(url)
    protocol, parted, rest = text.partition("://")
    protocol = _SAME.get(protocol.lower(), protocol.lower())
    if not parted or protocol == "file":
        path = Path(unquote(rest) if parted else text).expanduser()
        return check_place(_FOLDER + quote(os.path.realpath(path), safe="/+,;=~ "))
    return check_place(f"{protocol}://{rest.rstrip('/')}")


def folder_of(place: str) -> Path | None:
    """Return the folder that a place is, or None."""
    return Path(unquote(place.removeprefix(_FOLDER))) if place.startswith(_FOLDER) else None


def refuse_unless_allowed(place: str, repository: str) -> None:
    """Refuse a place that nobody allowed.

    Args:
        place: a place, or the URL of an object.
        repository: the URL of the repository that names it.

    Raises:
        StoreError: naming the place, and what allows it.
    """
    if not is_allowed(place, repository):
        raise StoreError(
            f"{place} lies outside of the repository {repository}, and nobody here said that it may be read.",
            hint="if you trust those who write to the repository: "
            f"dataver config set --user 'stores.{place}.{EXTERNAL}' true",
        )


def is_allowed(place: str, repository: str) -> bool:
    """Tell whether external files are read from a place (the module says when)."""
    folder = folder_of(place)
    if folder is not None:
        place = place_of(place)  # where it leads now
    found = _said(place, folder is not None)
    if found is not None:
        return found
    if any(below(place, _normal(each)) for each in os.environ.get(_VARIABLE, "").split()):
        return True
    home = _home(place)
    return home is not None and home == _home(repository)


def allow(place: str, repository: str) -> Path | None:
    """Note in the user's file that a place may be read; return the file, None where that was known.

    Raises:
        InvalidInput: the file cannot be changed from here.
    """
    if is_allowed(place, repository):
        return None
    path = user_config_path()
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
        write_text(path, change_value(text, ("stores", place, EXTERNAL), value=True, where=path))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}.", hint=f"set {_VARIABLE}={place} instead"
        ) from error
    return path


def _said(place: str, is_folder: bool) -> bool | None:
    """Return what the configuration says of a place, None for nothing."""
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
    """Return the protocol and the bucket or host of a URL; None for what has none, such as a folder."""
    parts = urlsplit(url)
    protocol = _SAME.get(parts.scheme, parts.scheme)
    return (protocol, parts.netloc) if protocol != "file" and parts.netloc else None
