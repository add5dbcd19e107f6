"""Settings in effect: from the user's file, the project's file and the environment, each with its source.

    [repository]                    the repository of this project, or of this user
    url = "s3://ml-data/repo"

    [repository.options]            its storage options: the names in `dataver.storage.settings`,
    profile = "lab"                 or options of its fsspec package

    [stores."s3://other-bucket"]    the same for every repository at or below a URL, and for external files
    endpoint_url = "https://s3.lab.example"
    external = true                 # not an option: permits external files (`repository.external_trust`)

The project's file is `.dataver/config.toml`, meant to be committed; the user's is `user_config_path()`.

1. Later sources override earlier ones, option by option: user's file, project's file, environment, caller.
2. Options belong to a URL and are used for no other.
3. A secret in a file is rejected by the name of its option.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dataver.errors import InvalidInput
from dataver.machine.paths import FOLDER, find_workspace, user_folder
from dataver.storage.durable import replace_file
from dataver.storage.url import check_spelling
from dataver.user import expand_user

# Imports in functions: a machine without a configuration file parses none, and few commands write one.

__all__ = [
    "CONFIG_FILE",
    "EXTERNAL",
    "Setting",
    "below",
    "change_value",
    "configuration_files",
    "configured_url",
    "options_for",
    "read_configuration",
    "settings_for",
    "url_setting",
    "user_config_path",
    "write_text",
]

CONFIG_FILE = "config.toml"
EXTERNAL = "external"  # a key of a table that is not an option of its store
_S3 = ("s3://", "s3a://")
_OWN = "DATAVER_S3_"  # followed by the option's name in capitals
_AWS = {  # variables that botocore reads by itself; a file must not override them
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "profile": ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
}
_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)  # with one of these, a profile in a file is not used


class Setting(NamedTuple):
    """A setting in effect.

    Attributes:
        name: such as `repository.url` or `repository.options.profile`.
        value: its value.
        source: a file, an environment variable, or `default`.
    """

    name: str
    value: Any
    source: str


def user_config_path() -> Path:
    """Return the user's configuration file: `DATAVER_CONFIG`, else the default path; it need not exist."""
    chosen = os.environ.get("DATAVER_CONFIG")
    if chosen:
        return expand_user(chosen)
    return user_folder("config") / CONFIG_FILE


def configuration_files(start: Path | None = None) -> list[Path]:
    """Return the existing configuration files: the user's, then the project's, which overrides it."""
    workspace = find_workspace(start)
    paths = [user_config_path()] + ([workspace / FOLDER / CONFIG_FILE] if workspace else [])
    # `isfile` does not raise for a home without read permission
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the contents of a configuration file.

    Raises:
        InvalidInput: it is not TOML, a table has another type, or it contains a secret.
    """
    import tomllib

    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} is not a valid configuration file: {error}.", hint="fix or delete it"
        ) from error
    check_configuration(found, path)
    return found


def check_configuration(found: Mapping[str, Any], path: Path) -> None:
    """Check the types of a configuration and that it contains no secrets.

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
                f"{path}: {name} contains a secret ({', '.join(secrets)}), and others can read this file.",
                hint="remove it, and replace it if the file was shared; put secrets in the environment, "
                "a profile of ~/.aws, or the `storage_options` of a call",
            )
    url = repository.get("url")
    if url is not None and (not isinstance(url, str) or not url):
        raise InvalidInput(
            f"{path}: repository.url must be a string.", hint='write url = "s3://bucket/prefix"'
        )
    if url is not None and has_login(url):
        raise InvalidInput(f"{path}: repository.url contains a password.", hint="remove it from the file")


def configured_url(start: Path | None = None) -> str | None:
    """Return the configured repository: `DATAVER_REPO`, else the project's, else the user's, or None.

    Raises:
        InvalidInput: a configuration file is invalid.
    """
    found = url_setting(start)
    return None if found is None else str(found.value)


def url_setting(start: Path | None = None) -> Setting | None:
    """Return the configured repository with its source, or None."""
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
    """Return the storage options for a repository: the configured ones, overridden by `given`.

    Raises:
        InvalidInput: a configuration file is invalid.
    """
    if "://" not in url or url.startswith(("file://", "local://")):
        return dict(given) if given else None  # a folder has no configured options
    found = {one.name: one.value for one in settings_for(url, start) if one.value is not None}
    return found | dict(given or {}) or None


def settings_for(url: str, start: Path | None = None) -> list[Setting]:
    """Return the options for the repository at `url`, each with its source.

    An option that a variable read by botocore overrides has the value None.
    """
    found: dict[str, Setting] = {}
    files = [(path, read_configuration(path)) for path in configuration_files(start)]
    urls = [_url(content, path) for path, content in files]
    current = next((each for each in reversed(urls) if each is not None), None)
    for (path, content), own in zip(files, urls, strict=True):
        for options in _tables(content, url, own or current):
            found |= {
                name: Setting(name, value, str(path)) for name, value in options.items() if name != EXTERNAL
            }
    if url.startswith(_S3):
        found |= {one.name: one for one in _from_environment(found)}
    return list(found.values())


def _tables(content: Mapping[str, Any], url: str, own: str | None) -> Iterator[Mapping[str, Any]]:
    """Yield the tables of a file that apply to a URL, the most specific last."""
    stores = content.get("stores", {})
    for prefix in sorted(stores, key=len):
        if below(url, prefix):
            yield stores[prefix]
    if own is not None and _plain(own) == _plain(url):
        yield content.get("repository", {}).get("options", {})


def _from_environment(files: Mapping[str, Setting]) -> Iterator[Setting]:
    from dataver.storage.settings import S3_WORDS

    for word in S3_WORDS:
        own = f"{_OWN}{word.upper()}"
        aws = next((name for name in _AWS.get(word, ()) if os.environ.get(name)), None)
        keys = next((name for name in _KEYS if os.environ.get(name)), None) if word == "profile" else None
        if os.environ.get(own):
            yield Setting(word, os.environ[own], own)
        elif aws == "AWS_REGION":  # botocore does not read this variable, unlike other AWS libraries
            yield Setting(word, os.environ[aws], aws)
        elif aws or (keys and word in files):
            yield Setting(word, None, aws or keys or "")


def _url(content: Mapping[str, Any], path: Path) -> str | None:
    """Return a file's repository; a path is relative to the project, not to the current folder."""
    url: str | None = content.get("repository", {}).get("url")
    if url is not None:
        check_spelling(url)
    if url is None or "://" in url or Path(url).is_absolute():
        return url
    home = path.parent.parent if path.parent.name == FOLDER else path.parent
    return str(home / expand_user(url))


def _table(found: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise InvalidInput(f"{path}: {name} must be a table.", hint="fix or delete it")
    return table


def _plain(url: str) -> str:
    return url.rstrip("/").replace("s3a://", "s3://", 1)


def below(url: str, prefix: str) -> bool:
    """Return whether a URL equals a prefix or is below it."""
    return f"{_plain(url)}/".startswith(f"{_plain(prefix)}/")


def change_value(text: str, name: Sequence[str], value: str | bool | float | None) -> str:
    """Return the text of a TOML file with one value set, or removed if it is None.

    Args:
        text: the file, which is valid TOML.
        name: the tables and the key; missing tables are added.
        value: the new value.
    """
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for position, each in enumerate(name[:-1]):
        if each not in table:
            if value is None:
                return text
            # a header for the innermost table only
            table[each] = tomlkit.table(is_super_table=position < len(name) - 2)
        table = table[each]
    if value is not None:
        table[name[-1]] = value
    else:
        table.pop(name[-1], None)
    return tomlkit.dumps(document)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text, durable=True)
