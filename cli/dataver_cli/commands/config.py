"""`dataver config`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.output import table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Config


@subcommand(
    "config",
    repo=False,
    examples="""
        dataver config                                              # all settings and their sources
        dataver config set repository.url s3://ml-data/repo
        dataver config set repository.options.profile lab
        dataver config set --user stores.s3://other.profile lab
        dataver config unset repository.options.profile
    """,
)
@click.argument("action", type=click.Choice(["show", "get", "set", "unset"]), default="show")
@click.argument("name", required=False)
@click.argument("value", required=False)
@click.option("--user", is_flag=True, help="Change your own file, which applies to all projects.")
def command(session: Session, action: str, name: str | None, value: str | None, user: bool) -> None:
    """Show or change the settings: the repository and how it is reached.

    The sources are, in ascending priority: your own file, .dataver/config.toml of the project, the
    environment, --repo and --storage-option. The files contain no secrets.
    """
    from dataver import Config

    config = Config()
    if action == "show":
        if name is not None:
            raise click.UsageError("to show one setting: dataver config get NAME")
        _show(session, config)
        return
    if name is None or (value is None) == (action == "set"):
        raise click.UsageError(f"usage: dataver config {action} NAME" + (" VALUE" if action == "set" else ""))
    if action == "get":
        _get(session, config, name)
        return
    path = config.set(name, value, user=user) if value is not None else config.unset(name, user=user)
    session.out.show({"file": str(path), "name": name, "value": value}, [])
    session.out.note(f"Written to {path}.")
    applies = next((one for one in config.settings() if one.name == name), None)
    if applies is not None and applies.source != str(path):
        session.out.note(f"The effective value here is still {applies.value}, from {applies.source}.")


def _show(session: Session, config: "Config") -> None:
    found = config.settings()
    rows = [[one.name, _text(one.value), one.source] for one in found]
    session.out.show(
        {
            "settings": [{"name": one.name, "value": one.value, "source": one.source} for one in found],
            "files": [str(path) for path in config.files],
        },
        table(rows, ["setting", "value", "from"]),
    )


def _get(session: Session, config: "Config", name: str) -> None:
    from dataver.errors import NotFound

    found = next((one for one in config.settings() if one.name == name), None)
    if found is None:
        raise NotFound(f"{name} is not set.", hint="`dataver config` lists all settings")
    session.out.show({"name": name, "value": found.value, "source": found.source}, [_text(found.value)])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
