"""Conversion of an exception to one sentence, a hint and an exit code.

No other module does this. `EXIT_CODES` is the table in `docs/operations.md`. Text goes to stderr, as JSON
with `--json`. Control characters in names are escaped. The library keeps secrets out of its messages.
"""

import errno
import os
import sys

import click

from dataver.errors import (
    AlreadyExists,
    Conflict,
    DataverError,
    Incomplete,
    IntegrityError,
    NotFound,
    StoreError,
)
from dataver.storage.translate import translate
from dataver_cli.output import folded, json_text, paint, safe

__all__ = ["EXIT_CODES", "code_of", "exit_code_of"]

EXIT_CODES = {
    0: "done",
    1: "another error, such as an invalid value",
    2: "the command line is invalid",
    3: "partly done; omitted items are listed on stderr",
    4: "not found: a dataset, version, tag, path or repository",
    5: "a conflict, or the object already exists",
    6: "damage: bytes do not match their name or checksum",
    7: "the store failed: network, permission, credentials, disk full",
    130: "interrupted by Ctrl-C; the same command continues",
}
_BY_ERROR: list[tuple[type[DataverError], int]] = [
    (Incomplete, 3),
    (NotFound, 4),
    (Conflict, 5),
    (AlreadyExists, 5),
    (IntegrityError, 6),
    (StoreError, 7),
]
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors of a disk, in any part of a command."""
_SHOWN = 20  # problems listed in text; --json lists all


def exit_code_of(error: BaseException, *, as_json: bool) -> int:
    """Report an error on stderr and return the exit code."""
    if isinstance(error, (KeyboardInterrupt, EOFError, click.Abort)):
        _print(
            "Interrupted. Finished work is kept; the same command continues.",
            "interrupted",
            None,
            as_json,
        )
        return 130
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        _usage(error, as_json)
        return error.exit_code
    lacking = _lacking(error)
    if isinstance(error, DataverError):
        problems = error.problems if isinstance(error, Incomplete) else []
        _print(error.message, error.code, lacking[1] if lacking else error.hint, as_json, problems)
        return code_of(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        error = translate(error, doing="write", key="", url=str(error.filename or "a file"))
        return exit_code_of(error, as_json=as_json)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        _print(f"{where}{error.strerror}.", "system", lacking[1] if lacking else None, as_json)
        return 1
    if lacking:
        _print(f"{lacking[0]}.", "system", lacking[1], as_json)
        return 1
    if isinstance(error, UnicodeEncodeError):
        _print(*_not_text(error), as_json)
        return 1
    return _defect(error, as_json)


def code_of(error: DataverError) -> int:
    """Return the exit code of an error of dataver."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), 1)


_FILES = "allow more open files, for example with `ulimit -n 1024`"
_THREADS = "allow more threads (`ulimit -u`) and memory (`ulimit -v`), or end other programs"


def _lacking(error: BaseException | None) -> tuple[str, str] | None:
    """Return the missing system resource and the next step; None for other errors, such as defects."""
    if isinstance(error, ImportError):
        return f"a part of dataver cannot be loaded ({error})", f"install dataver again, or {_FILES}"
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE):
            return "no more files can be opened", _FILES
        if number == errno.EAGAIN or "can't start new thread" in str(error):
            return "no more threads can be started", _THREADS
        if number == errno.ENOMEM or isinstance(error, MemoryError) or "not enough memory" in str(error):
            return "there is not enough memory", _THREADS
        error = error.__cause__
    return None


def _not_text(error: UnicodeEncodeError) -> tuple[str, str, str]:
    """Return the message, code and hint for a name that cannot be encoded."""
    message = (
        f"the characters '{error.object[error.start : error.end]}' cannot be encoded as {error.encoding}."
    )
    if error.encoding.replace("-", "") == "utf8":
        return message, "invalid-input", "names and messages must be valid UTF-8 text"
    return message, "system", "use a locale with UTF-8, or set PYTHONUTF8=1"


def _usage(error: click.ClickException, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context is not None else None
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    message = error.format_message()
    _print(message[:1].lower() + message[1:], "usage", hint, as_json)


def _defect(error: BaseException, as_json: bool) -> int:
    if os.environ.get("DATAVER_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    _print(
        f"internal error (a bug in dataver): {type(error).__name__}: {error}",
        "internal",
        "run the command again with DATAVER_TRACEBACK=1 and report the output",
        as_json,
    )
    return 1


def _print(
    message: str, code: str, hint: str | None, as_json: bool, problems: list[tuple[str, str]] | None = None
) -> None:
    problems = problems or []
    if as_json:
        value: dict[str, object] = {"error": {"code": code, "message": message, "hint": hint}}
        if problems:
            value["problems"] = [{"name": name, "reason": reason} for name, reason in problems]
        click.echo(json_text(value), err=True)
        return
    for name, reason in problems[:_SHOWN]:
        click.echo(f"  {safe(name)}: {safe(reason)}", err=True)
    if len(problems) > _SHOWN:
        click.echo(f"  … and {len(problems) - _SHOWN:,} more (--json lists all)", err=True)
    first, *rest = folded(f"dataver: {safe(message)}", sys.stderr)
    click.echo("\n".join([first.replace("dataver:", paint("dataver:", "red"), 1), *rest]), err=True)
    if hint:
        click.echo("\n".join(folded(f"  hint: {safe(hint)}", sys.stderr)), err=True)
