"""Where things lie on this machine: the cache, the default repository, the workspace of a project.

A workspace is the nearest folder upwards that holds `.dataver/`. Its `config.toml` may name the project's
repository and is meant to be committed; everything else in `.dataver/` is local.
"""

import json
import os
from pathlib import Path

from dataver.errors import InvalidInput

__all__ = [
    "FOLDER",
    "cache_root",
    "configured_url",
    "default_repository",
    "find_workspace",
    "state_root",
    "write_config",
]

FOLDER = ".dataver"
_CONFIG = "config.toml"


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


def configured_url(start: Path | None = None) -> str | None:
    """Return the repository that applies here: `DATAVER_REPO`, else the workspace's `config.toml`, else None.

    Raises:
        InvalidInput: the configuration is not TOML, or its URL is no text.
    """
    from_environment = os.environ.get("DATAVER_REPO")
    if from_environment:
        return from_environment
    workspace = find_workspace(start)
    path = workspace / FOLDER / _CONFIG if workspace else None
    if workspace is None or path is None or not path.is_file():
        return None
    import tomllib

    try:
        url = tomllib.loads(path.read_text("utf-8")).get("repository", {}).get("url")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise InvalidInput(f"{path} is not a configuration: {error}.", hint="mend or delete it") from error
    if url is None:
        return None
    if not isinstance(url, str):
        raise InvalidInput(f"{path}: repository.url must be text.", hint='write url = "s3://bucket/prefix"')
    if "://" not in url and not Path(url).is_absolute():
        return str(workspace / url)  # relative to the project, wherever the command runs
    return url


def write_config(workspace: Path, url: str) -> Path:
    """Record the project's repository in the workspace, so that later commands find it."""
    folder = workspace / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text(f"*\n!{_CONFIG}\n!.gitignore\n", "utf-8")
    quoted = json.dumps(url, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # TOML's strings are JSON's but for DEL
    path = folder / _CONFIG
    path.write_text(f"# The project's dataver repository.\n[repository]\nurl = {quoted}\n", "utf-8")
    return path
