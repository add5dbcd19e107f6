"""`dataver lineage file`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.documents import file_answer_values
from dataver_cli.command import subcommand
from dataver_cli.output import count, table, when
from dataver_cli.render_lineage import indented, open_lineage, run_cells, runs_table, traced_name
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.queries.results import FileAnswer


@subcommand(
    "file",
    examples="""
        dataver lineage file downloads/img_0042.jpg     # a local file, by its content
        dataver lineage file train/img_0042.jpg         # a path in versions
        dataver lineage file 5d41402abc4b2a76           # the start of a digest, as b3sum prints it
    """,
)
@click.argument("file")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Lines per section.")
def command(session: Session, file: str, limit: int) -> None:
    """Show the versions that contain a file's content, and the runs that read it.

    FILE is a file on this machine, else a path in versions, else the start of a digest. The search is by
    content, so renamed files and copies are found as well. --json lists everything.
    """
    answer = open_lineage(session).file(file)
    session.out.show(file_answer_values(answer), _lines(answer, limit))


def _lines(answer: "FileAnswer", limit: int) -> Iterator[str]:
    yield from indented("content", [f"{each.hex()}…" for each in answer.contents[:limit]])
    rows = [
        (
            traced_name(each.version),
            each.path,
            "" if each.version.created is None else when(each.version.created),
        )
        for each in answer.holdings
    ]
    yield from indented("held by", _some(table(rows[-limit:]), len(rows), limit, "version") or ["no version"])
    seen = {(each.run.key, each.link.role): each for each in answer.saw}
    lines = [
        (
            *run_cells(each.run),
            "produced it" if each.link.role == "output" else "" if each.certain else "perhaps",
        )
        for each in seen.values()
    ]
    more = [f"… of {count(answer.links, 'link')} to these versions"] if len(answer.saw) == limit else []
    yield from indented("seen by", [*runs_table(lines), *more] or ["no known run"])


def _some(lines: list[str], every: int, limit: int, thing: str) -> list[str]:
    return [*lines, f"… and {count(every - limit, thing)} before"] if every > limit else lines
