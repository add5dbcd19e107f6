"""Drives oxen, in its own environment, for which the package has no command line.

`init REPO`, `add REPO FOLDER LABEL` or `restore REPO FOLDER LABEL`. A version is the commit that has its
label as its message.
"""

import sys
from collections.abc import Callable

import oxen
from oxen.user import config_user


def init(repo: str) -> None:
    """Make an empty repository."""
    config_user("bench", "bench@example.com")
    oxen.Repo(repo).init()


def add(repo: str, folder: str, label: str) -> None:
    """Stage a folder and commit it; oxen refuses a commit of nothing."""
    work = oxen.Repo(repo)
    work.add(folder)
    if label != "again":
        work.commit(label)


def restore(repo: str, folder: str, label: str) -> None:
    """Write a folder as a commit holds it."""
    work = oxen.Repo(repo)
    commit = next(commit.id for commit in work.log() if commit.message == label)
    work.restore(folder, source=commit)


if __name__ == "__main__":
    deed, *words = sys.argv[1:]
    deeds: dict[str, Callable[..., None]] = {"init": init, "add": add, "restore": restore}
    deeds[deed](*words)
