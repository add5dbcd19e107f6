"""The command `dataver`: find a subcommand, run it, return its exit code.

Subcommands are imported when they are used. The table below contains everything that `dataver --help`
prints, so help needs only the start-up time of Python and click.
"""

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from dataver._about import __version__
from dataver_cli.group import LazyGroup
from dataver_cli.other_names import ALIASES, ANSWERS
from dataver_cli.streams import prepare_streams, use_utf8_names

__all__ = ["SECTIONS", "cli", "main"]

SECTIONS: dict[str, dict[str, str]] = {
    "Start here": {
        "demo": "Create two versions of a dataset from generated data, in a temporary repository.",
        "init": "Create a repository, or use an existing one, in this folder.",
    },
    "Create a version": {
        "create": "Start a draft of the next version of a dataset.",
        "add": "Add files and folders to the draft.",
        "add-external": "Record files that stay where they are, without copying them.",
        "remove": "Remove files from the draft.",
        "move": "Rename a file or a folder inside the draft.",
        "sync": "Mirror a folder to the draft, or to a dataset in one step.",
        "status": "Show the changes of the draft.",
        "finalize": "Seal the draft: its content gets a digest and no longer changes.",
        "upload": "Publish the sealed draft.",
        "restore": "Publish the content of an older version as the latest version.",
        "rename": "Rename a dataset: all its versions and tags.",
        "drafts": "List the drafts of this folder.",
        "discard": "Delete a draft.",
    },
    "Use a version": {
        "fetch": "Fetch a version to this machine and verify every byte.",
        "cat": "Write files of a version to standard output.",
        "export": "Write a version in the format of another tool.",
        "mount": "Mount a version as a read-only folder, without fetching it.",
        "serve": "Serve versions over HTTP to programs and browsers.",
        "lock": "Record which versions this code uses, in `dataver.lock`.",
        "verify": "Check the repository, a version in it, or a local folder against a version.",
    },
    "Inspect": {
        "ui": "Look at datasets, differences, lineage and runs in a browser.",
        "list": "List datasets, or the versions of one.",
        "search": "Find versions and files by words.",
        "show": "Show the details of a version.",
        "ls": "List the files of a version or a draft.",
        "head": "Show the first rows of a table of a version.",
        "schema": "Show the columns of a table of a version.",
        "stats": "Show the statistics of a table's columns.",
        "profile": "Find out what the files of a version are, and store it in the repository.",
        "log": "Show the history of a dataset as a graph.",
        "audit": "Show who published, tagged and deleted versions, and when.",
        "diff": "Show the differences between two versions, or those of a version from its parent.",
        "describe": "Describe a version, or with --dataset a dataset as a whole.",
        "tag": "Point a tag at a version, or list tags.",
        "untag": "Remove a tag.",
    },
    "Between repositories": {
        "push": "Copy versions from this repository to another.",
        "pull": "Copy versions from another repository to this one.",
        "mirror": "Copy all versions, tags and lineage of a repository to another.",
        "import": "Import the history of another tool: DVC, ClearML and others.",
        "compat": "Run commands of other tools on a repository, with their names and options.",
    },
    "Maintenance": {
        "du": "Show the size of datasets and versions, and what deleting them would free.",
        "delete": "Delete versions, or whole datasets.",
        "gc": "Delete data that no version needs.",
        "repack": "Rewrite packs that are mostly unneeded, and join small ones.",
    },
    "Runs and their data": {
        "run": "Run a command as one run, and link its fetches and versions to it.",
        "runs": "List the runs that consumed or produced versions.",
        "lineage": "Query which data a run used, and which runs used some data.",
    },
    "This tool": {
        "doctor": "Check the repository, the access to it, and this machine.",
        "cache": "Show and clean this machine's cache.",
        "config": "Show or change the settings: the repository and how it is reached.",
        "completion": "Print the shell's completion script.",
    },
}
# A command makes many objects and few cycles: rare collection saves a seventh of the time of `add` on 50,000
# files and costs no memory (docs/performance.md).
_COLLECT_EVERY = 200_000

_EXAMPLES = (
    "$ dataver init s3://ml-data/repo",
    "$ dataver create vision/cats && dataver add photos/ --dest train",
    '$ dataver finalize -m "July photos" && dataver upload',
    '$ dataver sync photos/ --name vision/cats --dest train -m "July photos"   # all in one step',
    "$ dataver fetch vision/cats@1.0.1 --dest work/ --include 'train/**'",
)


@click.command(
    cls=LazyGroup,
    package="dataver_cli.commands",
    sections=SECTIONS,
    aliases=ALIASES,
    answers=ANSWERS,
    examples=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)
@click.option(
    "--repo",
    metavar="URL",
    help="Repository: a folder, s3://bucket/prefix or any fsspec URL. [env: DATAVER_REPO]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only results and errors: no progress, no summary.")
@click.option("-v", "--verbose", count=True, help="Print retries and decisions; twice: requests as well.")
@click.option("--log-file", metavar="FILE", type=click.Path(), help="Append all of these to FILE.")
@click.version_option(__version__, prog_name="dataver", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **shared: Any) -> None:
    """Versions of datasets in a folder or bucket, identified by content. No server."""
    ctx.obj = {**(ctx.obj or {}), **shared}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    if arguments is not None:
        return _run(list(arguments))
    use_utf8_names()
    from dataver.lineage.settings import no_implicit_runs

    no_implicit_runs()  # a command typed in a shell creates no run of its own
    warnings.formatwarning = _one_line
    code = _run(sys.argv[1:])
    gc.freeze()  # avoids a last collection at exit, which takes 10 ms
    return code


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """Return a Python warning as the commands print theirs, without a line of code."""
    return f"warning: {message}\n"


def _run(given: list[str]) -> int:
    gc.set_threshold(_COLLECT_EVERY, 50, 100)
    prepare_streams()
    spare = os.open(os.devnull, os.O_RDONLY)
    given = ["--version"] if given[:1] == ["version"] else given
    if "_DATAVER_COMPLETE" in os.environ:
        from click.shell_completion import add_completion_class

        from dataver_cli.bash import Bash

        add_completion_class(Bash)
    try:
        code = cli.main(given, prog_name="dataver", standalone_mode=False, obj={"arguments": given})
        sys.stdout.flush()
    except SystemExit as stop:  # shell completion exits this way
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001  # the one place where every error becomes an exit code
        os.close(spare)  # a free descriptor for the next import, if the limit on open files is reached
        spare = -1
        from dataver_cli.errors import exit_code_of

        if "dataver_cli.logs" in sys.modules:
            from dataver_cli.logs import log_error

            log_error(error)
        return exit_code_of(error, as_json="--json" in given)
    finally:
        if spare >= 0:
            os.close(spare)
        if "dataver_cli.logs" in sys.modules:
            from dataver_cli.logs import stop_logging

            stop_logging()
    return code if isinstance(code, int) else 0
