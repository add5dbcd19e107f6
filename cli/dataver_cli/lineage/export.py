"""`dataver lineage export`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, json_text
from dataver_cli.render_lineage import open_lineage
from dataver_cli.session import Session


@subcommand(
    "export",
    examples="""
        dataver lineage export > lineage.jsonl
        dataver lineage export --openlineage | while read -r e; do post "$e"; done
    """,
    as_json=False,
)
@click.option("--openlineage", is_flag=True, help="Write OpenLineage events (the only supported format).")
def command(session: Session, openlineage: bool) -> None:
    """Write all lineage as OpenLineage events.

    Each line is one JSON value. Each run has a start and an end event, with the exact versions that it
    consumed and produced.
    """
    events = 0
    for event in open_lineage(session).export():
        click.echo(json_text(event))
        events += 1
    session.out.note(f"Wrote {count(events, 'event')}.")
