"""`dataver import s3-versions`."""

from datetime import datetime
from typing import Any

import click

from dataver_cli.command import plan_option, subcommand
from dataver_cli.import_parts import name_option, run_import, strict_option
from dataver_cli.session import Session, parse_pairs, parse_time


def _times(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str | None, datetime]]:
    """Return the tag, or None, and the moment of each `[TAG=]TIME`."""
    found = []
    for value in values:
        tag, parted, time = value.rpartition("=")
        moment = parse_time(ctx, param, time)
        assert moment is not None
        found.append((tag if parted else None, moment))
    return found


@subcommand(
    "s3-versions",
    examples="""
        dataver import s3-versions s3://telescope/nights --plan
        dataver import s3-versions s3://telescope/nights --gap 6h
        dataver import s3-versions s3://telescope/nights --at v1=2026-01-03
    """,
)
@click.argument("url", metavar="URL")
@name_option
@click.option(
    "--at",
    multiple=True,
    metavar="[TAG=]TIME",
    callback=_times,
    help="Make a version of the state at this time, with this tag. Repeatable.",
)
@click.option(
    "--gap",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="Without --at: make a version wherever no object changed for this time.",
)
@click.option("--store", is_flag=True, help="Store the bytes instead of leaving the objects in place.")
@click.option(
    "--from-option",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_pairs,
    help="Setting of the bucket, e.g. endpoint_url=http://localhost:9000. Repeatable.",
)
@strict_option
@plan_option("imported")
def command(
    session: Session, url: str, name: str | None, gap: str, plan: bool, store: bool, strict: bool, **how: Any
) -> None:
    """Import the history that a versioned bucket keeps of its objects.

    A version is the state of all objects below URL at one time. The objects stay where they are, each in the
    version that it had: nothing is copied, and each is read once to hash it. The bucket must keep its old
    versions as long as you need them; --store makes a copy. While objects still change, the present state is
    not imported and the exit code is 3.
    """
    from dataver.importers.s3_versions import S3VersionsSource
    from dataver.machine.store_clock import parse_period

    source = S3VersionsSource(url, name, at=how["at"], gap=parse_period(gap), options=how["from_option"])
    run_import(session, source, plan=plan, in_place=not store, strict=strict)
