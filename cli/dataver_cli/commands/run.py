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
        dataver run --run mlflow:4f1c2e -- ./train             # as a part of an existing run
    """,
    as_json=False,
)
@click.option("--name", metavar="NAME", help="Name of the run; need not be unique.")
@click.option("--run", "key", metavar="RUN", help="Join the run system:id instead of creating one.")
@click.argument("arguments", metavar="COMMAND [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(session: Session, name: str | None, key: str | None, arguments: tuple[str, ...]) -> int:
    """Run a command as one run, and link its fetches and versions to it.

    All processes that the command starts belong to the run. Signals are passed to the command. Its exit code
    is returned, and the run is recorded as failed unless the exit code is 0.
    """
    import dataver
    from dataver.lineage.attribution.owner import key_of
    from dataver.lineage.run_command import Launch
    from dataver.lineage.settings import enabled

    if session.url:
        os.environ["DATAVER_REPO"] = session.url  # for the processes of the command
    launch = Launch(arguments, name=name, key=key_of(key)[0] if key else None)
    try:
        code = launch.wait()
    except OSError as error:
        session.out.warn(f"{arguments[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    if enabled() and launch.repositories:
        own = session.storage_options or {}
        launch.tell(lambda url, options: dataver.open(url, storage_options={**(options or {}), **own})._core)
        session.out.note(f"`dataver lineage run {launch.run.key}` shows the versions that it used.")
    return code


command.allow_interspersed_args = False  # arguments after the command's name belong to that command
