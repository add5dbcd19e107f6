"""`dataver import git-lfs`."""

from typing import Any

from dataver_cli.command import subcommand
from dataver_cli.import_parts import Import, git_options, import_options
from dataver_cli.session import Session


@subcommand(
    "git-lfs",
    examples="""
        dataver import git-lfs . --plan
        dataver import git-lfs https://github.com/org/cats --ref main --path images
    """,
)
@git_options
@import_options
def command(session: Session, repository: str, run: Import, **how: Any) -> None:
    """Import the files of git-lfs, one version a change of them.

    FOLDER|URL is a git repository. A version has the message, author and time of its commit, its parents are
    those of git, and tags of git become tags. Objects are read from the repository, else from its server of
    git-lfs, with the login that git has, and verified by their SHA-256. A repeated import brings only new
    commits.
    """
    from dataver.importers.git_lfs import GitLfsSource

    run(GitLfsSource(repository, **how))
