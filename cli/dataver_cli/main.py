"""The command `dataver`: finds the command that was meant, runs it, returns its exit code.

The one idea: commands are imported when they are used. The table below holds what `dataver --help` needs, so
help starts in the time that Python and click need, and no library of data is touched.
"""

import gc
import sys
from collections.abc import Sequence

import click

from dataver._about import __version__
from dataver_cli.group import LazyGroup

__all__ = ["ALIASES", "SECTIONS", "cli", "main"]

SECTIONS: dict[str, dict[str, str]] = {
    "Start here": {
        "demo": "Make two versions of a dataset from made-up data, in a throw-away repository.",
        "init": "Make a repository.",
    },
    "Make a version": {
        "create": "Start a draft of the next version of a dataset.",
        "add": "Add files and folders to the draft.",
        "add-external": "Record files that stay where they are, without copying them.",
        "remove": "Take files out of the draft.",
        "move": "Rename a file or a folder inside the draft.",
        "sync": "Make the draft, or a dataset in one step, mirror a folder.",
        "status": "Show what the draft changes.",
        "finalize": "Seal the draft: its content is fixed and has a digest.",
        "upload": "Publish the sealed draft.",
        "drafts": "List the drafts of this folder.",
        "discard": "Delete a draft.",
    },
    "Use a version": {
        "fetch": "Bring a version to this machine, every byte verified.",
        "cat": "Write files of a version to standard output.",
        "mount": "Make a version readable as a folder, without fetching it.",
        "serve": "Let any program on this machine read versions over HTTP.",
        "lock": "Write down which versions this code uses, in `dataver.lock` beside it.",
        "verify": "Check a version in the repository, or a local folder against it.",
    },
    "Look around": {
        "list": "List datasets, or the versions of one.",
        "show": "Show what is known of a version.",
        "ls": "List the files of a version or a draft.",
        "log": "Show the history of a dataset as a graph.",
        "diff": "Show what differs between two versions.",
        "tag": "Point a tag at a version, or list tags.",
        "untag": "Remove a tag.",
    },
    "Between repositories": {
        "push": "Bring versions from this repository to another.",
        "pull": "Bring versions from another repository to this one.",
        "mirror": "Bring everything in one repository to another.",
    },
    "Keep house": {
        "du": "Show what datasets and versions take, and what deleting them would free.",
        "delete": "Delete a version, or a whole dataset.",
        "gc": "Free what no version needs.",
        "repack": "Copy what versions need out of packs that are mostly dead.",
    },
    "Runs and their data": {
        "run": "Run any command as one run: what it fetches and finalizes is linked to it.",
        "runs": "List the runs that consumed or produced versions.",
        "lineage": "Ask from a run to its data, and from data to every run that saw it.",
    },
    "This tool": {
        "cache": "See and clean what this machine keeps of fetched versions.",
        "config": "Show or change what applies here: the repository and how it is reached.",
        "completion": "Print the shell's completion script.",
    },
}
ALIASES = {"get": "fetch", "close": "finalize", "compare": "diff"}  # ClearML Data's words
# A command makes many objects and no cycles to speak of: collecting rarely saves a seventh of `add` on 50,000
# files and no memory is lost (measured; see docs/performance.md).
_COLLECT_EVERY = 200_000

_EXAMPLES = (
    "$ dataver init s3://ml-data/repo",
    "$ dataver create vision/cats && dataver add photos/ --dest train",
    '$ dataver finalize -m "July photos" && dataver upload',
    '$ dataver sync photos/ --name vision/cats --dest train -m "July photos"   # all in one step',
    "$ dataver fetch vision/cats@1.0.1 --dest work/ --paths 'train/**'",
)


@click.command(
    cls=LazyGroup,
    package="dataver_cli.commands",
    sections=SECTIONS,
    aliases=ALIASES,
    examples=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)
@click.option(
    "--repo",
    metavar="URL",
    help="Repository: a folder, s3://bucket/prefix or any fsspec URL. [env: DATAVER_REPO]",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no closing line; results and errors only.")
@click.version_option(__version__, prog_name="dataver", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, repo: str | None, quiet: bool) -> None:
    """Versions of datasets, by content, in a plain folder or bucket. No server."""
    ctx.obj = {"repo": repo, "quiet": quiet}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    if arguments is not None:
        return _run(list(arguments))
    from dataver.lineage.settings import no_implicit_runs

    no_implicit_runs()  # what a person types in a shell is no run, unless there is one around it
    code = _run(sys.argv[1:])
    gc.freeze()  # the process ends: looking through everything once more for cycles would take 10 ms
    return code


def _run(given: list[str]) -> int:
    gc.set_threshold(_COLLECT_EVERY, 50, 100)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name no terminal can show ends no command
    try:
        code = cli.main(given, prog_name="dataver", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:  # shell completion leaves this way
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001  # the one place where every error becomes an exit code
        from dataver_cli.errors import exit_code_of

        return exit_code_of(error, as_json="--json" in given)
    return code if isinstance(code, int) else 0
