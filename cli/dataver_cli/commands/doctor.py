"""`dataver doctor`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.doctor import Check

_NAME, _STATE = 18, 7  # widths of the columns


@subcommand(
    "doctor",
    examples="""
        dataver doctor                               # the configured repository
        dataver doctor --read-only                   # for users who may only read
        dataver doctor --repo s3://ml-data/repo --json
    """,
)
@click.option("--read-only", is_flag=True, help="Write nothing to the store; only check reading.")
def command(session: Session, read_only: bool) -> int:
    """Check the repository, the access to it, and this machine.

    Each check prints one line: the repository and the source of its URL, the source of the credentials, the
    permissions to list, read, write and delete, this machine's clock, conditional writes, the cache, and the
    versions of packages. Below a failed check is the next step. The permissions are tried with objects named
    .probe-<32 hex> in the repository, which are deleted again. The exit code is 0 if no check failed, else
    that of the first failure. No secret is printed.
    """
    from dataver.doctor import examine
    from dataver_cli.errors import code_of

    found = examine(session.url, storage_options=session.storage_options, read_only=read_only)
    error = found.error
    session.out.show(
        {
            "url": found.url,
            "ok": error is None,
            "checks": [
                {"name": each.name, "state": each.state, "text": each.text, "hint": each.hint}
                for each in found.checks
            ],
        },
        (line for check in found.checks for line in _lines(check)),
    )
    failures = sum(check.state == "failed" for check in found.checks)
    session.out.note(f"{count(len(found.checks), 'check')}, {failures or 'none'} failed.")
    return 0 if error is None else code_of(error)


def _lines(check: "Check") -> "Iterator[str]":
    yield f"{check.state:{_STATE}}  {check.name:{_NAME}}  {check.text}"
    if check.hint:
        yield f"{'':{_STATE}}  {'':{_NAME}}  next step: {check.hint}"
