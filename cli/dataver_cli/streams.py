"""Handling of standard streams that are closed or cannot be written.

Results go to stdout. If they cannot be written, the exit code is 3 (invariant 10), or 141 if the reader of a
pipe has exited. Messages go to stderr, and losing them has no effect. A closed stream is opened on the null
device, because otherwise the next opened file would get its descriptor.
"""

import io
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["prepare_streams"]

_SIGPIPE = 141  # the exit code of a program in a shell whose reader has exited
_MODES = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}  # using stdin and stdout still fails


class _Writer(io.RawIOBase):
    """The descriptor of stdout or stderr; after a failed write it discards the rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lost = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "Buffer", /) -> int:
        if not self._lost:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self._lost = self._descriptor == 1
                if self._lost:
                    raise _failure(error) from error
        return memoryview(data).nbytes


def _failure(error: OSError) -> Exception:
    from dataver.errors import Incomplete

    if isinstance(error, BrokenPipeError):
        return click.exceptions.Exit(_SIGPIPE)
    return Incomplete(
        f"standard output cannot be written: {error.strerror}.",
        hint="the changes of the command are kept; only its output is lost",
    )


def prepare_streams() -> None:
    """Open closed standard streams, and handle failed writes as described in the module docstring."""
    for descriptor, mode in _MODES.items():
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, mode)  # gets the lowest free descriptor: this one
            os.set_inheritable(null, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # for the life of the process
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(2, sys.stderr)


def _text(descriptor: int, before: "io.TextIOWrapper | None") -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Writer(descriptor)),
        encoding=None if before is None else before.encoding,
        errors="backslashreplace",  # a name that the terminal cannot show must not end the command
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
