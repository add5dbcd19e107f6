"""Where things lie on this machine: the cache, the default repository, the workspace of a project.

A workspace is the nearest folder upwards that holds `.dataver/`. Its `config.toml` may name the project's
repository (`dataver.repository.configuration`) and is meant to be committed; everything else in `.dataver/`
is local.
"""

import os
import sys
from pathlib import Path

__all__ = [
    "FOLDER",
    "cache_root",
    "default_repository",
    "find_workspace",
    "state_root",
    "user_folder",
]

FOLDER = ".dataver"
_BELOW_HOME = {"cache": ".cache", "config": ".config", "data": ".local/share", "state": ".local/state"}


def cache_root() -> Path:
    """Return the folder of everything that may be deleted: `DATAVER_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("DATAVER_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("cache")


def default_repository() -> Path:
    """Return the folder of the user's default local repository (it need not exist)."""
    return user_folder("data") / "repository"


def state_root() -> Path:
    """Return the folder of what outlives a cache: `DATAVER_STATE`, else the user's state folder.

    It holds the lineage index, which can be made anew, and the queue of events that wait to be sent, which
    cannot.
    """
    chosen = os.environ.get("DATAVER_STATE")
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("state")


def user_folder(kind: str) -> Path:
    """Return our folder among the user's of a kind (`cache`, `config`, `data`, `state`); it need not exist.

    It is the one of `platformdirs`, whose import takes longer (5 ms) than the rule for Linux:
    https://specifications.freedesktop.org/basedir.
    """
    if sys.platform == "linux" and "ANDROID_DATA" not in os.environ:
        for variable, below in ((f"XDG_{kind.upper()}_HOME", ""), ("HOME", _BELOW_HOME[kind])):
            base = os.environ.get(variable, "")
            if base.startswith("/"):
                return Path(base, below, "dataver")
    from platformdirs import PlatformDirs

    return Path(getattr(PlatformDirs("dataver"), f"user_{kind}_dir"))


def find_workspace(start: Path | None = None) -> Path | None:
    """Return the nearest folder from `start` upwards that holds `.dataver/`, or None."""
    here = (start or Path.cwd()).absolute()
    above = (here, *here.parents)
    return next((each for each in above if os.path.isdir(each / FOLDER)), None)  # noqa: PTH112  # never raises
