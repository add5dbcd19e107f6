"""`dataver run`."""

import os

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session


@subcommand(
    "run",
    examples="""
        dataver run -- python train.py --epochs 3
        dataver run --name nightly -- bash pipeline.sh
        dataver run --run mlflow:4f1c2e -- ./train             # as a part of a run that exists
    """,
    as_json=False,
)
@click.option("--name", metavar="NAME", help="What to call the run; need not be unique.")
@click.option("--run", "key", metavar="RUN", help="Join or name a run by system:id, instead of a new one.")
@click.argument("arguments", metavar="COMMAND [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(session: Session, name: str | None, key: str | None, arguments: tuple[str, ...]) -> int:
    """Run any command as one run: what it fetches and finalizes is linked to it.

    All processes that the command starts belong to the run. Its exit code becomes this command's, signals are
    handed on, and the run counts as failed unless it is 0.
    """
    import dataver
    from dataver.lineage.launching import Launch
    from dataver.lineage.settings import enabled
    from dataver.lineage.which_run import key_of

    if session.url:
        os.environ["DATAVER_REPO"] = session.url  # the command's processes use it, too
    launch = Launch(arguments, name=name, key=key_of(key)[0] if key else None)
    try:
        code = launch.wait()
    except OSError as error:
        session.out.warn(f"{arguments[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    if enabled() and launch.repositories:
        launch.tell(lambda url: dataver.open(url, storage_options=session.storage_options))
        session.out.note(f"`dataver lineage run {launch.run.key}` shows what it read and made.")
    return code


command.allow_interspersed_args = False  # what follows the command's name is the command's
