"""`dataver import folders`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, import_options, name_option
from dataver_cli.session import Session


@subcommand(
    "folders",
    examples="""
        dataver import folders 'data_*/' --name vision/cats --plan
        dataver import folders 'data_*/' --name vision/cats
        dataver import folders v1/ v2/ v10/
    """,
)
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--follow-links", is_flag=True, help="Store the targets of symlinks instead of the links.")
@name_option
@import_options
def command(
    session: Session, folders: tuple[str, ...], name: str | None, follow_links: bool, run: Import
) -> None:
    """Import folders such as data_2026-01-03/, one version a folder.

    FOLDER is a folder or a quoted pattern. The order is that of the names, with numbers by value: v10
    follows v9. A version has the time that is in the name, as in data_2026-01-03, else that of the folder's
    last change. Its tag is the folder's name. A repeated import brings only folders with new names: not
    one whose files have changed since, nor another of the same name.
    """
    from dataver.importers.folders import FoldersSource

    run(FoldersSource(folders, name, follow_links=follow_links))
