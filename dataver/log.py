"""Log messages of the library, for the standard `logging` module, under the logger `dataver`.

Requests to stores are logged at the level DEBUG; retries and decisions, such as which repository is used, at
INFO. Nothing is louder, so a program that does not configure logging sees nothing. `logging` is not imported
here: a program that has not imported it has no handler.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["debug", "info", "logged_request"]

_DEBUG, _INFO = 10, 20  # the numbers of `logging`


def debug(message: str, *values: object) -> None:
    """Log a detail, such as one request."""
    _log(_DEBUG, message, values)


def info(message: str, *values: object) -> None:
    """Log a retry or a decision."""
    _log(_INFO, message, values)


@contextmanager
def logged_request(doing: str, key: str, url: str) -> Iterator[None]:
    """Log a request with its duration, and its error if it fails."""
    began = time.perf_counter()
    what = f"{doing} {key} in {url}" if key else f"{doing} {url}"
    try:
        yield
    except BaseException as error:
        seconds = time.perf_counter() - began
        debug("%s: %s: %s (%.3f s)", what, type(error).__name__, error, seconds)
        raise
    debug("%s (%.3f s)", what, time.perf_counter() - began)


def _log(level: int, message: str, values: tuple[object, ...]) -> None:
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("dataver").log(level, message, *values)
