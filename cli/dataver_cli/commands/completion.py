"""`dataver completion`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session


@subcommand(
    "completion",
    examples="""
        eval "$(dataver completion bash)"                               # in ~/.bashrc
        eval "$(dataver completion zsh)"                                # in ~/.zshrc
        dataver completion fish > ~/.config/fish/completions/dataver.fish
    """,
    repo=False,
    as_json=False,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(session: Session, shell: str) -> None:
    """Print the shell's completion script.

    It completes commands, options, ids of drafts, and names of datasets, versions and tags. No remote
    repository is queried: of those, the names in dataver.lock, in drafts and in the cache are completed.
    """
    from click.shell_completion import get_completion_class

    from dataver_cli.bash import Bash
    from dataver_cli.main import cli

    found = Bash if shell == "bash" else get_completion_class(shell)
    assert found is not None  # the choices above are click's own
    click.echo(found(cli, {}, "dataver", "_DATAVER_COMPLETE").source())
