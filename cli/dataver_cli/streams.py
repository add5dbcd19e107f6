"""Handling of standard streams that are closed or cannot be written.

Results go to stdout. If they cannot be written, the exit code is 3 (invariant 10), or 141 if the reader of a
pipe has exited. Messages go to stderr, and losing them has no effect. A closed stream is opened on the null
device, because otherwise the next opened file would get its descriptor.

Characters that the encoding of a stream lacks are escaped. The encoding applies to streams only: paths and
arguments are UTF-8 also if the locale is plain ASCII.
"""

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["prepare_streams", "use_utf8_names"]

_SIGPIPE = 141  # the exit code of a program in a shell whose reader has exited
_ASCII = "dataver_ascii"
_ENCODING = "dataver_streams"  # name of the `-X` option that holds the encoding of the streams
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


def use_utf8_names() -> None:
    """Start this program again in Python's UTF-8 mode if it could name ASCII paths only.

    Python takes the encoding of paths and arguments from the locale, so with `LC_ALL=C` and `PYTHONUTF8=0`
    no other file could be added or fetched. The streams keep their encoding.
    """
    if os.name != "posix" or not sys.executable or codecs.lookup(sys.getfilesystemencoding()).name != "ascii":
        return
    encoding = "ascii" if sys.stdout is None else sys.stdout.encoding
    options = ["-X", "utf8", "-X", f"{_ENCODING}={encoding}"]
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606  # itself


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


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace an ellipsis by three dots, and escape other characters that a stream cannot encode."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] == "…":
        return "...", error.start + 1
    return codecs.backslashreplace_errors(error)


def _find_codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under another name; click would replace a stream that is plain ASCII by a UTF-8 one."""
    if name != _ASCII:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        incrementalencoder=plain.incrementalencoder,
        incrementaldecoder=plain.incrementaldecoder,
        name=_ASCII,
    )


def _text(descriptor: int, before: "io.TextIOWrapper | None") -> io.TextIOWrapper:
    encoding: str | bool | None = sys._xoptions.get(_ENCODING) or (
        None if before is None else before.encoding
    )
    if isinstance(encoding, str) and codecs.lookup(encoding).name == "ascii":
        codecs.register(_find_codec)
        encoding = _ASCII
    codecs.register_error("dataver.escape", _escape)
    return io.TextIOWrapper(
        io.BufferedWriter(_Writer(descriptor)),
        encoding=encoding if isinstance(encoding, str) else None,
        errors="dataver.escape",  # a name that the terminal cannot show must not end the command
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
