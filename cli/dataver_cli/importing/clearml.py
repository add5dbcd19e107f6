"""`dataver import clearml`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, import_options
from dataver_cli.session import Session


@subcommand(
    "clearml",
    examples="""
        dataver import clearml --plan
        dataver import clearml --project vision --in-place
        dataver import clearml s3://ml-data/clearml
        dataver import clearml ~/.clearml/cache/offline/offline-1f0c.zip
    """,
)
@click.argument("place", metavar="[FOLDER|ZIP|URL]", required=False)
@click.option(
    "--project", metavar="NAME", help="Only datasets of this project of ClearML, and of those below."
)
@click.option("--name", metavar="NAME", help="Only datasets of this name.")
@import_options
def command(session: Session, place: str | None, project: str | None, name: str | None, run: Import) -> None:
    """Import datasets of ClearML, one version for each of theirs.

    Without FOLDER, ZIP or URL the versions are those on the server of ClearML's own configuration, with
    parents, labels, tags and descriptions; this needs the package clearml. FOLDER or URL is the storage
    itself: the bucket, or the folder of the file server. It is enough if the server is gone, but has no
    labels and tags. ZIP or FOLDER can also be an offline session. Every file is verified by its SHA-256.
    External files stay where they are, which --in-place allows. Ids of ClearML's tasks name the versions in
    `dataver.compat.clearml`. A repeated import brings only new versions.
    """
    from dataver.importers.clearml import ClearMLSource, FolderReader
    from dataver.importers.clearml_server import ServerReader

    reader = FolderReader(place) if place else ServerReader()
    run(ClearMLSource(reader, project, name))
