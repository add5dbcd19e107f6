"""`dataver import wandb`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, import_options, name_option
from dataver_cli.session import Session


@subcommand(
    "wandb",
    examples="""
        dataver import wandb team/project --plan
        dataver import wandb team/project/cats --name vision/cats
        dataver import wandb wandb/                              # runs that were logged offline
        dataver import wandb cats-v0.json cats-v1.json           # manifests; files from W&B's cache
    """,
)
@click.argument("places", nargs=-1, required=True, metavar="PROJECT|PATH...")
@click.option("--type", "kind", default="dataset", show_default=True, help="Type of the artifacts.")
@name_option
@import_options
def command(session: Session, places: tuple[str, ...], kind: str, name: str | None, run: Import) -> None:
    """Import artifacts of Weights & Biases, one version for each of theirs.

    PROJECT is entity/project, or entity/project/artifact, on the server that the wandb package uses. PATH is
    a folder of runs that were logged offline, or a wandb_manifest.json, whose files are in W&B's cache.
    Files are verified by W&B's checksums; references stay where they are. v3 becomes 3.0.0, aliases become
    tags, and the runs that logged and used a version are in the lineage.
    """
    from dataver.importers.wandb import wandb_source

    run(wandb_source(places, kind, name))
