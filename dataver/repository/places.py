"""Where things lie on this machine: the cache, the default repository, the workspace of a project.

A workspace is the nearest folder upwards that holds `.dataver/`. Its `config.toml` may name the project's
repository (`dataver.repository.configuration`) and is meant to be committed; everything else in `.dataver/`
is local.
"""

import os
from pathlib import Path

__all__ = [
    "FOLDER",
    "cache_root",
    "default_repository",
    "find_workspace",
    "state_root",
]

FOLDER = ".dataver"


def cache_root() -> Path:
    """Return the folder of everything that may be deleted: `DATAVER_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("DATAVER_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("dataver")


def default_repository() -> Path:
    """Return the folder of the user's default local repository (it need not exist)."""
    from platformdirs import user_data_path

    return user_data_path("dataver") / "repository"


def state_root() -> Path:
    """Return the folder of what outlives a cache: `DATAVER_STATE`, else the user's state folder.

    It holds the lineage index, which can be made anew, and the queue of events that wait to be sent, which
    cannot.
    """
    chosen = os.environ.get("DATAVER_STATE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_state_path

    return user_state_path("dataver")


def find_workspace(start: Path | None = None) -> Path | None:
    """Return the nearest folder from `start` upwards that holds `.dataver/`, or None."""
    here = (start or Path.cwd()).absolute()
    above = (here, *here.parents)
    return next((each for each in above if os.path.isdir(each / FOLDER)), None)  # noqa: PTH112  # never raises
