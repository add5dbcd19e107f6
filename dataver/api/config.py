"""The public configuration: the settings that apply in a folder, where each comes from, and changing them.

The idea: a change rewrites one value of a file. What then applies is resolved as for every command
(`dataver.machine.configuration`).
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataver.errors import InvalidInput
from dataver.machine.configuration import (
    CONFIG_FILE,
    EXTERNAL,
    Setting,
    change_value,
    check_configuration,
    configuration_files,
    read_configuration,
    settings_for,
    url_setting,
    user_config_path,
    write_text,
)
from dataver.machine.paths import FOLDER, cache_root, default_repository, find_workspace
from dataver.storage.settings import S3Settings, secret_names

__all__ = ["Config", "remember_repository"]

_HEAD = "# Settings of dataver for this folder; never put a secret into it.\n"
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


class Config:
    """Settings that apply in a folder (repository, options, cache), from files and the environment.

        for setting in dataver.Config().settings():
            print(setting.name, setting.value, setting.source)

    Args:
        start: the folder; None means the current one.
    """

    def __init__(self, start: str | Path | None = None) -> None:
        self._start = Path(start) if start is not None else None

    def __repr__(self) -> str:
        return f"Config({str(self._start or Path.cwd())!r})"

    @property
    def files(self) -> list[Path]:
        """The existing files: the user's, then the project's, which takes precedence."""
        return configuration_files(self._start)

    def settings(self) -> list[Setting]:
        """Return all settings that apply here with their origins, without secrets.

        Raises:
            InvalidInput: a file is not a valid configuration, or holds a secret.
        """
        url = url_setting(self._start)
        found = [url or Setting("repository.url", str(default_repository()), "default")]
        options = settings_for(str(found[0].value), self._start) if url else []
        for one in options:
            value = (
                os.environ[one.source] if one.value is None and one.source.startswith("AWS_") else one.value
            )
            if one.source in _CREDENTIALS:
                continue  # instead of a profile: reported below
            found.append(Setting(f"repository.options.{one.name}", value, one.source))
        if url and str(url.value).startswith("s3"):
            said = next((name for name in _CREDENTIALS if os.environ.get(name)), None)
            if said is not None:
                found.append(Setting("credentials", "from the environment", said))
        chosen = "DATAVER_CACHE" if os.environ.get("DATAVER_CACHE") else "default"
        return [*found, Setting("cache", str(cache_root()), chosen), *self._others()]

    def get(self, name: str) -> Any:
        """Return the value of a setting that applies here, or None; errors as for `settings`."""
        return next((one.value for one in self.settings() if one.name == name), None)

    def set(self, name: str, value: str | bool, *, user: bool = False) -> Path:
        """Write a setting to the project's file, or the user's; return the file.

        Args:
            name: `repository.url`, `repository.options.WORD`, `stores.URL.WORD`, or `cache.size`.
            value: the new value.
            user: write the user's file, which applies to all projects that do not override it.

        Raises:
            InvalidInput: the setting is unknown, the value is not allowed, or it is a secret.
        """
        parts = _parts(name)
        if parts[0] == "cache" and not user:
            raise InvalidInput(f"{name} is a setting of the machine only.", hint="add --user (user=True)")
        return self._change([(parts, _meant(parts, value))], user=user)

    def unset(self, name: str, *, user: bool = False) -> Path:
        """Remove a setting from the project's file, or the user's; return the file.

        Args:
            name: as for `set`; the file need not contain it.
            user: change the user's file.

        Raises:
            InvalidInput: the setting is unknown.
        """
        return self._change([(_parts(name), None)], user=user)

    def remember(self, url: str, options: Mapping[str, Any]) -> Path:
        """Record the project's repository and its options, instead of those of the previous repository.

        Args:
            url: the repository.
            options: options of its store, without secrets.

        Returns:
            The file.

        Raises:
            InvalidInput: an option is unknown, or it is a secret.
        """
        path = self._path(user=False)
        before = _read(path).get("repository", {})
        kept = before.get("options", {}) if before.get("url") == url else {}
        forgotten = [key for key in before.get("options", {}) if key not in kept]
        changes: list[tuple[tuple[str, ...], Any]] = [(("repository", "url"), url)]
        changes += [(("repository", "options", key), None) for key in forgotten]
        changes += [(("repository", "options", key), value) for key, value in options.items()]
        return self._change(changes, user=False)

    def _change(self, changes: list[tuple[tuple[str, ...], Any]], *, user: bool) -> Path:
        path = self._path(user=user)
        _read(path)
        text = path.read_text("utf-8") if path.is_file() else _HEAD
        for parts, value in changes:
            text = change_value(text, parts, value)
        found = tomllib.loads(text)
        check_configuration(found, path)
        _check_options(found)
        write_text(path, text)
        if not user:
            ignore = path.with_name(".gitignore")
            if not ignore.exists():
                ignore.write_text(f"*\n!{CONFIG_FILE}\n!.gitignore\n", "utf-8")
        return path

    def _path(self, *, user: bool) -> Path:
        if user:
            return user_config_path()
        home = find_workspace(self._start) or (self._start or Path.cwd()).absolute()
        return home / FOLDER / CONFIG_FILE

    def _others(self) -> list[Setting]:
        if os.environ.get("DATAVER_CACHE_SIZE"):
            return [Setting("cache.size", os.environ["DATAVER_CACHE_SIZE"], "DATAVER_CACHE_SIZE")]
        path = user_config_path()
        size = _read(path).get("cache", {}).get("size")
        return [] if size is None else [Setting("cache.size", size, str(path))]


def remember_repository(folder: Path, url: str, options: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Record a folder's repository and its options, except secrets.

    Returns:
        The file, and the names of the options that were left out.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)  # of this folder, not of one above
    left_out = [name for name, value in options.items() if list(secret_names({name: value}))]
    kept = {
        name: _meant(("repository", "options", name), value)
        for name, value in options.items()
        if name not in left_out and isinstance(value, (str, bool, int, float))
    }
    return Config(folder).remember(url, kept), left_out


def _read(path: Path) -> dict[str, Any]:

    return read_configuration(path) if path.is_file() else {}


def _parts(name: str) -> tuple[str, ...]:
    """Return the tables and the key of a setting's name."""
    first, _, rest = name.partition(".")
    if name in ("repository.url", "cache.size"):
        return (first, rest)
    if name.startswith("repository.options.") and name.count(".") == 2 and not name.endswith("."):
        return (first, *rest.split("."))
    url, _, word = rest.rpartition(".")
    if first == "stores" and "://" in url and word and "/" not in word:
        return (first, url, word)
    raise InvalidInput(
        f"unknown setting '{name}'.",
        hint="repository.url, repository.options.WORD, stores.URL.WORD or cache.size, where WORD is "
        "endpoint_url, region, profile, …: docs/stores.md lists them",
    )


def _meant(parts: tuple[str, ...], value: str | bool | float) -> str | bool | float:
    """Convert a value to its TOML type."""
    if isinstance(value, str) and parts[-1] in ("anon", "path_style", "requester_pays", EXTERNAL):
        return _TRUTHS.get(value.strip().lower(), value)
    return value


def _check_options(found: Mapping[str, Any]) -> None:
    """Reject options that S3 does not accept."""
    repository = found.get("repository", {})
    tables = [(repository.get("url", ""), repository.get("options", {})), *found.get("stores", {}).items()]
    for url, options in tables:
        if url.startswith("s3"):
            S3Settings.of(options)
