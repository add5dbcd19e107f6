"""`dataver tag`."""

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table, when
from dataver_cli.session import Session


@subcommand(
    "tag",
    examples="""
        dataver tag vision/cats@1.0.1 production        # move vision/cats@production to this version
        dataver tag vision/cats                         # list the tags
        dataver tag vision/cats production --history    # list the moves of the tag
    """,
)
@ref_argument()
@click.argument("tag", required=False)
@click.option("--history", is_flag=True, help="Show all moves of TAG instead of moving it.")
def command(session: Session, ref: str, tag: str | None, history: bool) -> None:
    """Point a tag at a version, or list tags.

    An existing tag is moved, and its history is kept. A tag must not be named latest or like a label of the
    dataset.
    """
    if history:
        if tag is None:
            raise click.UsageError("missing tag: dataver tag NAME TAG --history")
        _history(session, ref.partition("@")[0], tag)
    elif tag is None:
        _list(session, ref.partition("@")[0])
    else:
        version = session.repository().tag(ref, tag)
        values = {"dataset": version.dataset, "tag": tag, "label": version.label, "digest": version.digest}
        session.out.show(values, [])
        session.out.note(f"{version.dataset}@{tag} now points to {version.ref}.")


def _list(session: Session, name: str) -> None:
    repository = session.repository()
    repository.version(name)  # raises NotFound if the dataset does not exist
    tags = repository.tagged(name)
    session.out.show(
        tags,
        table([(f"{name}@{tag}", label) for tag, label in tags.items()], ("TAG", "VERSION")) if tags else [],
    )
    if not tags:
        session.out.note(f"{name} has no tags.")


def _history(session: Session, name: str, tag: str) -> None:
    moves = session.repository().tag_history(name, tag)
    if not moves:
        from dataver.errors import NotFound

        raise NotFound(f"{name} never had a tag '{tag}'.", hint=f"`dataver tag {name}` lists its tags")
    values = [
        {
            "number": each.number,
            "label": each.label,
            "created": each.created.isoformat(),
            "author": each.author,
        }
        for each in moves
    ]
    rows = [(str(each.number), each.label or "(removed)", when(each.created), each.author) for each in moves]
    session.out.show(values, table(rows, ("MOVE", "VERSION", "WHEN", "BY"), right=(0,)))
