"""From an exception to one sentence, a hint and an exit code: the only place that does it.

`EXIT_CODES` is the table that README and `docs/cli.md` print. Text goes to stderr, as JSON where `--json`
asked for it; control characters in names are escaped, and no secret is ever in a message (the library keeps
them out).
"""

import json
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
from dataver_cli.output import safe

__all__ = ["EXIT_CODES", "exit_code_of"]

EXIT_CODES = {
    0: "done",
    1: "an error that none of the others names, such as a value that cannot be used",
    2: "the command line was not understood",
    3: "done in part; what was left out is listed on stderr",
    4: "not found: a dataset, version, tag, path or repository",
    5: "a conflict, or it exists already",
    6: "bytes that are not what their name or checksum says",
    7: "the store failed: network, permission, credentials, disk full",
    130: "interrupted by Ctrl-C; the same command carries on",
}
_BY_ERROR: list[tuple[type[DataverError], int]] = [
    (Incomplete, 3),
    (NotFound, 4),
    (Conflict, 5),
    (AlreadyExists, 5),
    (IntegrityError, 6),
    (StoreError, 7),
]
_SIGPIPE = 141  # what a shell reports of a program whose reader went away
_SHOWN = 20  # problems listed in text; --json lists all


def exit_code_of(error: BaseException, *, as_json: bool) -> int:
    """Report an error on stderr and return the exit code."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush fails no more
        return _SIGPIPE
    if isinstance(error, (KeyboardInterrupt, EOFError, click.Abort)):
        _print(
            "Interrupted. What was finished is kept; the same command carries on.",
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
    if isinstance(error, DataverError):
        problems = error.problems if isinstance(error, Incomplete) else []
        _print(error.message, error.code, error.hint, as_json, problems)
        return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), 1)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        _print(f"{where}{error.strerror}.", "system", None, as_json)
        return 1
    return _defect(error, as_json)


def _usage(error: click.ClickException, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    hint = f"`{context.command_path} --help` shows how" if context is not None else None
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
        f"this is a defect of dataver: {type(error).__name__}: {error}",
        "internal",
        "run it again with DATAVER_TRACEBACK=1 and report what it prints",
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
        click.echo(json.dumps(value), err=True)
        return
    for name, reason in problems[:_SHOWN]:
        click.echo(f"  {safe(name)}: {safe(reason)}", err=True)
    if len(problems) > _SHOWN:
        click.echo(f"  … and {len(problems) - _SHOWN:,} more (--json lists all)", err=True)
    click.echo(f"dataver: {safe(message)}", err=True)
    if hint:
        click.echo(f"  hint: {safe(hint)}", err=True)
