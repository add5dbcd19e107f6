"""The author's name that records and moves of tags carry."""

import os

__all__ = ["author"]


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
