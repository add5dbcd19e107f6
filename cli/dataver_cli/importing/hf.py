"""`dataver import hf`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, import_options, name_option
from dataver_cli.session import Session


@subcommand(
    "hf",
    examples="""
        dataver import hf org/cats --plan
        dataver import hf org/cats --name vision/cats
        dataver import hf ~/.cache/huggingface/hub/datasets--org--cats
    """,
)
@click.argument("place", metavar="REPO|FOLDER")
@name_option
@import_options
def command(session: Session, place: str, name: str | None, run: Import) -> None:
    """Import a dataset of the Hugging Face Hub, one version a commit that changed files.

    REPO is org/name on the Hub; it is read with huggingface_hub, its token and HF_ENDPOINT. FOLDER is a
    dataset in the Hub's cache on this machine, or the whole cache: it is read offline, and has the commits
    that were downloaded. Files are verified by the SHA-256 or the git blob that the Hub has of them. The
    license, tags and other facts at the start of README.md become metadata; tags and branches become tags.
    """
    from dataver.importers.hf import hub_source

    run(hub_source(place, name))
