"""`dataver import dvc`."""

from typing import Any

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, git_options, import_options
from dataver_cli.session import Session


@subcommand(
    "dvc",
    examples="""
        dataver import dvc . --plan
        dataver import dvc . --in-place
        dataver import dvc https://github.com/org/cats --ref main --path data/images
    """,
)
@git_options
@import_options
def command(session: Session, repository: str, run: Import, **how: Any) -> None:
    """Import the history of a DVC repository, one version a change of the data.

    FOLDER|URL is a git repository with DVC. A version has the message, author and time of its commit, its
    parents are those of git, and tags of git and GTO become tags. Every object is read from DVC's cache, else
    from its remote, and verified by its MD5. A repeated import brings only new commits.
    """
    from dataver.importers.dvc import DvcSource

    run(DvcSource(repository, **how))
