"""`dataver tag`."""

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table, when
from dataver_cli.session import Session


@subcommand(
    "tag",
    examples="""
        dataver tag vision/cats@1.0.1 production        # move vision/cats@production to this version
        dataver tag vision/cats@production production --protect
        dataver tag vision/cats@1.0.2 production --force --reason reviewed
        dataver tag vision/cats                         # list the tags
        dataver tag vision/cats production --history    # list the moves of the tag
    """,
)
@ref_argument()
@click.argument("tag", required=False)
@click.option(
    "--protect/--unprotect", default=None, help="Protect the tag from now on, or end that (with --force)."
)
@click.option("--force", is_flag=True, help="Move a protected tag; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown by --history and `dataver audit`.")
@click.option("--history", is_flag=True, help="Show all moves of TAG instead of moving it.")
def command(
    session: Session,
    ref: str,
    tag: str | None,
    *,
    protect: bool | None,
    force: bool,
    reason: str,
    history: bool,
) -> None:
    """Point a tag at a version, or list tags.

    An existing tag is moved, and its history is kept. A tag must not be named latest or like a label of the
    dataset. A protected tag is moved, unprotected or removed only with --force and --reason; `upload --tag`
    refuses it. This prevents mistakes; it does not restrict users with write access.
    """
    if (protect is not None or force or reason) and (history or tag is None):
        raise click.UsageError(
            "--protect, --unprotect, --force and --reason need a version and a tag, and no --history"
        )
    if history:
        if tag is None:
            raise click.UsageError("missing tag: dataver tag NAME TAG --history")
        _history(session, ref.partition("@")[0], tag)
    elif tag is None:
        _list(session, ref.partition("@")[0])
    else:
        version = session.repository().tag(ref, tag, protect=protect, force=force, reason=reason)
        values = {"dataset": version.dataset, "tag": tag, "label": version.label, "digest": version.digest}
        session.out.show(values, [])
        state = {True: " and is protected", False: " and is not protected", None: ""}[protect]
        session.out.note(f"{version.dataset}@{tag} now points to {version.ref}{state}.")


def _list(session: Session, name: str) -> None:
    repository = session.repository()
    repository.version(name)  # raises NotFound if the dataset does not exist
    tags = repository._core.tags.current(name)
    rows = [
        (f"{name}@{tag}", str(move.label), "protected" if move.protected else "")
        for tag, move in tags.items()
    ]
    session.out.show(
        {tag: move.label for tag, move in tags.items()},
        table(rows, ("TAG", "VERSION", "")) if rows else [],
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
            "protected": each.protected,
            "reason": each.reason,
        }
        for each in moves
    ]
    rows = [
        (
            str(each.number),
            each.label or "(removed)",
            when(each.created),
            each.author,
            "protected" if each.protected else "",
            each.reason,
        )
        for each in moves
    ]
    session.out.show(values, table(rows, ("MOVE", "VERSION", "WHEN", "BY", "", "REASON"), right=(0,)))
