"""What applies here: the user's file, the project's file, the environment; and who said each thing.

    [repository]                    the repository of this project, or of this user
    url = "s3://ml-data/repo"

    [repository.options]            how it is reached: the words of `dataver.storage.settings`,
    profile = "lab"                 or what its fsspec package takes

    [stores."s3://other-bucket"]    the same for every repository at or below a URL, and for external files
    endpoint_url = "https://s3.lab.example"
    external = true                 # not an option: external files are read from there (`allowing`)

The project's file is `.dataver/config.toml`, meant to be committed; the user's is `user_config_path()`.

1. What comes later wins, word by word: the user's file, the project's, the environment, the caller.
2. Options belong to a URL and are given to no other.
3. A secret in a file is refused by its name, whatever else the file says.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dataver.errors import InvalidInput
from dataver.repository.places import FOLDER, find_workspace, user_folder

__all__ = [
    "CONFIG_FILE",
    "EXTERNAL",
    "Setting",
    "below",
    "configuration_files",
    "configured_url",
    "options_for",
    "read_configuration",
    "settings_for",
    "url_setting",
    "user_config_path",
]

CONFIG_FILE = "config.toml"
EXTERNAL = "external"  # the word of a table that is no option of its store
_S3 = ("s3://", "s3a://")
_OWN = "DATAVER_S3_"  # and the word, in capitals
_AWS = {  # what botocore heeds by itself, so that a file must not stand in its way
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "profile": ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
}
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")  # who has these needs no profile of a file


class Setting(NamedTuple):
    """One thing that applies.

    Attributes:
        name: such as `repository.url` or `repository.options.profile`.
        value: what it is.
        source: who said so: a file, an environment variable, or `default`.
    """

    name: str
    value: Any
    source: str


def user_config_path() -> Path:
    """Return the user's configuration file: `DATAVER_CONFIG`, else the usual place; it need not exist."""
    chosen = os.environ.get("DATAVER_CONFIG")
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("config") / CONFIG_FILE


def configuration_files(start: Path | None = None) -> list[Path]:
    """Return the user's file and the project's, where there is one, in the order in which they count."""
    workspace = find_workspace(start)
    paths = [user_config_path()] + ([workspace / FOLDER / CONFIG_FILE] if workspace else [])
    # `isfile` never raises: a home that may not be looked into holds none
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113


def read_configuration(path: Path) -> dict[str, Any]:
    """Return what a file says.

    Raises:
        InvalidInput: it is no TOML, a table is something else, or it holds a secret.
    """
    import tomllib

    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not a configuration: {error}.", hint="mend or delete it") from error
    check_configuration(found, path)
    return found


def check_configuration(found: Mapping[str, Any], path: Path) -> None:
    """Refuse what no configuration can be.

    Raises:
        InvalidInput: naming the file and the setting; never the value of a secret.
    """
    from dataver.storage.settings import has_login, secret_names

    repository = _table(found, "repository", path)
    tables = {"repository.options": _table(repository, "options", path)}
    for prefix, options in _table(found, "stores", path).items():
        if not isinstance(options, dict):
            raise InvalidInput(f"{path}: stores.{prefix} must be a table.", hint='write [stores."s3://…"]')
        tables[f"stores.{prefix}"] = options
    for name, options in tables.items():
        secrets = sorted(secret_names(options))
        if secrets:
            raise InvalidInput(
                f"{path}: {name} holds a secret ({', '.join(secrets)}), and this file is read by others.",
                hint="take it out, and replace it where the file was shared; secrets belong into the "
                "environment, a profile of ~/.aws, or the `storage_options` of a call",
            )
    url = repository.get("url")
    if url is not None and (not isinstance(url, str) or not url):
        raise InvalidInput(f"{path}: repository.url must be text.", hint='write url = "s3://bucket/prefix"')
    if url is not None and has_login(url):
        raise InvalidInput(f"{path}: repository.url holds a password.", hint="take it out of the file")


def configured_url(start: Path | None = None) -> str | None:
    """Return the repository that applies here: `DATAVER_REPO`, else the project's, else the user's, or None.

    Raises:
        InvalidInput: a configuration is not one.
    """
    found = url_setting(start)
    return None if found is None else str(found.value)


def url_setting(start: Path | None = None) -> Setting | None:
    """Return the repository that applies here and who says so."""
    from_environment = os.environ.get("DATAVER_REPO")
    if from_environment:
        return Setting("repository.url", from_environment, "DATAVER_REPO")
    for path in reversed(configuration_files(start)):
        named = _url(read_configuration(path), path)
        if named is not None:
            return Setting("repository.url", named, str(path))
    return None


def options_for(
    url: str, given: Mapping[str, Any] | None = None, start: Path | None = None
) -> dict[str, Any] | None:
    """Return the storage options for a repository: what applies here, with `given` on top.

    Raises:
        InvalidInput: a configuration is not one.
    """
    if "://" not in url or url.startswith(("file://", "local://")):
        return dict(given) if given else None  # a folder takes none
    found = {one.name: one.value for one in settings_for(url, start) if one.value is not None}
    return found | dict(given or {}) or None


def settings_for(url: str, start: Path | None = None) -> list[Setting]:
    """Return the options that apply to the repository at `url` and who says each.

    Where a variable that botocore reads by itself overrides a file, its value is None.
    """
    found: dict[str, Setting] = {}
    files = [(path, read_configuration(path)) for path in configuration_files(start)]
    urls = [_url(said, path) for path, said in files]
    current = next((each for each in reversed(urls) if each is not None), None)
    for (path, said), own in zip(files, urls, strict=True):
        for options in _tables(said, url, own or current):
            found |= {
                name: Setting(name, value, str(path)) for name, value in options.items() if name != EXTERNAL
            }
    if url.startswith(_S3):
        found |= {one.name: one for one in _from_environment(found)}
    return list(found.values())


def _tables(said: Mapping[str, Any], url: str, own: str | None) -> Iterator[Mapping[str, Any]]:
    """Yield the tables of a file that apply to a URL, the more special ones later."""
    stores = said.get("stores", {})
    for prefix in sorted(stores, key=len):
        if below(url, prefix):
            yield stores[prefix]
    if own is not None and _plain(own) == _plain(url):
        yield said.get("repository", {}).get("options", {})


def _from_environment(files: Mapping[str, Setting]) -> Iterator[Setting]:
    from dataver.storage.settings import S3_WORDS

    for word in S3_WORDS:
        own = f"{_OWN}{word.upper()}"
        aws = next((name for name in _AWS.get(word, ()) if os.environ.get(name)), None)
        keys = next((name for name in _KEYS if os.environ.get(name)), None) if word == "profile" else None
        if os.environ.get(own):
            yield Setting(word, os.environ[own], own)
        elif aws == "AWS_REGION":  # which botocore, alone among AWS's libraries, does not know
            yield Setting(word, os.environ[aws], aws)
        elif aws or (keys and word in files):
            yield Setting(word, None, aws or keys or "")


def _url(said: Mapping[str, Any], path: Path) -> str | None:
    """Return a file's repository; one without `://` is relative to the project, wherever the command runs."""
    url: str | None = said.get("repository", {}).get("url")
    if url is None or "://" in url or Path(url).is_absolute():
        return url
    home = path.parent.parent if path.parent.name == FOLDER else path.parent
    return str(home / Path(url).expanduser())


def _table(found: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise InvalidInput(f"{path}: {name} must be a table.", hint="mend or delete it")
    return table


def _plain(url: str) -> str:
    return url.rstrip("/").replace("s3a://", "s3://", 1)


def below(url: str, prefix: str) -> bool:
    """Tell whether a URL is a prefix, or lies below it."""
    return f"{_plain(url)}/".startswith(f"{_plain(prefix)}/")
