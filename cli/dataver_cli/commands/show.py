"""`dataver show`."""

import click

from dataver.documents import version_values
from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import json_text, table
from dataver_cli.render import version_lines
from dataver_cli.render_tables import kind_lines
from dataver_cli.session import Session

_COUNTED = 100_000  # files of a version whose kinds are counted, which reads its whole tree


@subcommand(
    "show",
    examples="""
        dataver show vision/cats@1.0.1
        dataver show vision/cats              # its latest version, and all tags of the dataset
        dataver show dv1:3fa94c
        dataver show vision/cats@1.0.1 --croissant > cats/croissant.json
    """,
)
@ref_argument()
@click.option("--croissant", is_flag=True, help="Print the description in Croissant 1.1 (JSON-LD).")
def command(session: Session, ref: str, *, croissant: bool) -> None:
    """Show the details of a version.

    REF is name, name@label, name@tag, name@latest or dv1:<digest>.
    """
    repository = session.repository()
    version = repository.version(ref)
    if croissant:
        click.echo(json_text(version.croissant(), indent=2))
        return
    everything = repository.tagged(version.dataset)
    tags = [tag for tag, label in everything.items() if label == version.label]
    lines = table(version_lines(version, tags))
    others = [f"{tag} -> {label}" for tag, label in everything.items() if label != version.label]
    if others:
        lines.append(f"other tags of {version.dataset}: {', '.join(others)}")
    values = {**version_values(version, tags), "dataset_tags": everything}
    if version.file_count <= _COUNTED:
        kinds = version.kinds()
        values["kinds"] = [each._asdict() for each in kinds]
        lines += ["", *kind_lines(kinds)] if kinds else []
    session.out.show(values, lines)
