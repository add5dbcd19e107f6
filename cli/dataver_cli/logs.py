"""`--verbose` and `--log-file`: handlers for the messages of `dataver.log`.

Secrets are removed from every message, tracebacks included, by `dataver.lineage.capture.redact`.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import IO

from dataver._about import __version__
from dataver.lineage.capture.redact import redact, redact_arguments, secret_values
from dataver_cli.output import safe

__all__ = ["log_error", "start_logging", "stop_logging"]

_LOGGER = logging.getLogger("dataver")
_TRACE = 5  # level of tracebacks, which only the file gets


class _Redacting(logging.Formatter):
    """A format whose messages contain no secrets and, like all output, no control characters."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "%Y-%m-%dT%H:%M:%S")
        self._secrets = secret_values()

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message."""
        text = redact(super().format(record), values=self._secrets)
        return "\n".join(map(safe, text.splitlines()))


def start_logging(arguments: Sequence[str], verbose: int, file: str | None) -> None:
    """Send messages to stderr, to a file, or to both.

    Args:
        arguments: the command line, which is the first message.
        verbose: 1 for retries and decisions, 2 for requests as well, on stderr.
        file: receives all of them, and tracebacks of errors.

    Raises:
        OSError: the file cannot be opened.
    """
    stop_logging()
    if file is not None:
        stream = os.fdopen(
            os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
        )
        text = "%(asctime)s.%(msecs)03d %(process)d %(threadName)s %(levelname)s %(message)s"
        _add(stream, _TRACE, text)
    if verbose:
        _add(
            sys.stderr,
            logging.INFO if verbose == 1 else logging.DEBUG,
            "%(relativeCreated)7.0f ms  %(message)s",
        )
    words = " ".join(redact_arguments(["dataver", *arguments]))
    _LOGGER.info("%s (dataver %s, Python %s)", words, __version__, sys.version.split()[0])


def log_error(error: BaseException) -> None:
    """Log an error with its traceback."""
    _LOGGER.log(_TRACE, "%s", type(error).__name__, exc_info=error)


def stop_logging() -> None:
    """Remove the handlers, and close the file."""
    for handler in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(handler)
        if isinstance(handler, logging.StreamHandler) and handler.stream is not sys.stderr:
            handler.stream.close()
    _LOGGER.setLevel(logging.NOTSET)


def _add(stream: IO[str], level: int, text: str) -> None:
    handler = logging.StreamHandler(stream)
    handler.setLevel(level)
    handler.setFormatter(_Redacting(text))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(min(level, _LOGGER.level or level))
