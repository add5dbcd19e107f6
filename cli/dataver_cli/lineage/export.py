"""`dataver lineage export`."""

import json

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session
from dataver_cli.tracing import open_lineage


@subcommand(
    "export",
    examples="""
        dataver lineage export > lineage.jsonl
        dataver lineage export --openlineage | while read -r event; do post "$event"; done
    """,
    as_json=False,
)
@click.option("--openlineage", is_flag=True, help="As OpenLineage events (the only form there is).")
def command(session: Session, openlineage: bool) -> None:
    """Write all lineage as OpenLineage events.

    One JSON value a line: for each run its start and its end, with the exact versions it consumed and
    produced.
    """
    events = 0
    for event in open_lineage(session).export():
        click.echo(json.dumps(event, ensure_ascii=False))
        events += 1
    session.out.note(f"Wrote {count(events, 'event')}.")
