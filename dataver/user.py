"""The user: the home folder, `~` in paths, and the author's name that records and moves of tags carry."""

import os
import pwd
from pathlib import Path

from dataver.errors import InvalidInput

# Imports in functions: getpass is needed only where no author is configured.

__all__ = ["author", "expand_user", "home_folder"]

_HOMELESS = "/nonexistent"  # for users without an entry in passwd, as in containers; Debian's value


def expand_user(path: str | Path) -> Path:
    """Return a path with a leading `~` or `~name` replaced by a home folder.

    Raises:
        InvalidInput: no such user.
    """
    text = str(path)
    if text == "~" or text.startswith("~/"):
        return Path(home_folder() + text[1:])
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{path}: no user of that name.", hint="write the full path") from error


def home_folder() -> str:
    """Return this user's home folder: `HOME`, else the one in the user database."""
    home = os.environ.get("HOME", "")
    if home.startswith("/"):
        return home
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return _HOMELESS


def author() -> str:
    """Return the author: `DATAVER_AUTHOR`, else the user's login name."""
    chosen = os.environ.get("DATAVER_AUTHOR")
    if chosen:
        return chosen
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
