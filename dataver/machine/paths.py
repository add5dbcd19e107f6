"""Paths on this machine: the cache, the default repository, the workspace of a project.

A workspace is the nearest folder upwards that contains `.dataver/`. Its `config.toml` may name the project's
repository (`dataver.machine.configuration`) and is meant to be committed; all other files in `.dataver/` are
local.
"""

import os
import sys
from pathlib import Path

from dataver.user import expand_user, home_folder

# Imports in functions: platformdirs is not needed where variables name the folders.

__all__ = [
    "FOLDER",
    "absolute_url",
    "cache_root",
    "default_repository",
    "find_workspace",
    "make_private",
    "state_root",
    "user_folder",
    "workspace_of",
]

FOLDER = ".dataver"
_BELOW_HOME = {"cache": ".cache", "config": ".config", "data": ".local/share", "state": ".local/state"}


def cache_root() -> Path:
    """Return the cache folder (`dataver.machine.cache_root`): `DATAVER_CACHE`, else the user's default."""
    chosen = os.environ.get("DATAVER_CACHE")
    return expand_user(chosen).absolute() if chosen else user_folder("cache")


def default_repository() -> Path:
    """Return the folder of the user's default local repository (it need not exist)."""
    return user_folder("data") / "repository"


def state_root() -> Path:
    """Return the state folder: `DATAVER_STATE`, else the user's default.

    It contains the lineage index, which can be rebuilt, and the queue of unsent events, which cannot.
    """
    chosen = os.environ.get("DATAVER_STATE")
    return expand_user(chosen) if chosen else user_folder("state")


def user_folder(kind: str) -> Path:
    """Return dataver's folder of a kind (`cache`, `config`, `data`, `state`); it need not exist.

    Same as `platformdirs`, but for Linux without its import, which takes 5 ms:
    https://specifications.freedesktop.org/basedir. An empty or relative home counts as unset, so the path is
    always absolute.
    """
    if sys.platform != "linux" or "ANDROID_DATA" in os.environ:
        from platformdirs import PlatformDirs

        return Path(getattr(PlatformDirs("dataver"), f"user_{kind}_dir"))
    chosen = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if chosen.startswith("/"):
        return Path(chosen, "dataver")
    return Path(home_folder(), _BELOW_HOME[kind], "dataver")


def find_workspace(start: Path | None = None) -> Path | None:
    """Return the nearest folder from `start` upwards that contains `.dataver/`, or None."""
    here = (start or Path.cwd()).absolute()
    above = (here, *here.parents)
    return next((each for each in above if os.path.isdir(each / FOLDER)), None)  # noqa: PTH112  # never raises


def workspace_of(chosen: str | Path | None) -> Path:
    """Return the folder of a workspace: the chosen one, else the nearest one upwards, else this folder."""
    if chosen is not None:
        return Path(chosen).absolute()
    return find_workspace() or Path.cwd()


def absolute_url(url: str | Path) -> str:
    """Return a folder's absolute path, so that drafts find it from any folder; other URLs unchanged."""
    text = str(url)
    return text if "://" in text else str(expand_user(text).absolute())


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700, independent of the umask.

    `Path.mkdir` applies its mode only to the last folder.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
