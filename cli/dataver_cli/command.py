"""Common parts of all commands: examples in the help, `--repo`, `--quiet`, `--json`, and a `Session`.

A command module contains one `command`, made with `@subcommand(…)`. Its docstring is its help text. A test
checks its examples.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import cleandoc
from typing import Any

import click

from dataver_cli.completing import complete_draft, complete_ref
from dataver_cli.group import write_examples
from dataver_cli.session import Session, parse_pairs, parse_size, parse_time

__all__ = [
    "Command",
    "Option",
    "bump_option",
    "dataset_name",
    "draft_option",
    "exclude_option",
    "include_option",
    "option",
    "parse_json_pairs",
    "plan_option",
    "record_options",
    "ref_argument",
    "subcommand",
    "time_option",
]

Function = Callable[..., object]


class Command(click.Command):
    """A command whose help ends with examples.

    Attributes:
        examples: command lines without the prompt; `#` starts a comment.
    """

    def __init__(self, *args: Any, examples: str = "", **values: Any) -> None:
        super().__init__(*args, **values)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples without wrapping them."""
        write_examples(formatter, self.examples)


def subcommand(
    name: str, *, examples: str, repo: bool = True, as_json: bool = True
) -> Callable[[Function], Command]:
    """Make a command from a function that takes a `Session` and options.

    Args:
        name: the name on the command line.
        examples: one command line per line.
        repo: whether the command opens a repository.
        as_json: whether the command has the option `--json`.
    """

    def decorate(function: Function) -> Command:
        @wraps(function)
        @click.pass_context
        def run(ctx: click.Context, /, **values: Any) -> object:
            above: Mapping[str, Any] = ctx.obj or {}
            verbose = values.pop("verbose", 0) + above.get("verbose", 0)
            log_file = values.pop("log_file", None) or above.get("log_file")
            if verbose or log_file:
                from dataver_cli.logs import start_logging

                start_logging(above.get("arguments", ()), verbose, log_file)
            session = Session(
                repo=values.pop("repo", None) or above.get("repo"),
                options=values.pop("storage_option", {}),
                as_json=values.pop("as_json", False),
                quiet=values.pop("quiet", False) or above.get("quiet", False),
                verbose=verbose > 0,
            )
            return function(session, **values)

        parameters = [*reversed(getattr(function, "__click_params__", [])), *_shared(repo, as_json)]
        return Command(
            name, callback=run, params=parameters, help=cleandoc(function.__doc__ or ""), examples=examples
        )

    return decorate


def _shared(repo: bool, as_json: bool) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    if repo:
        options += [
            Option(
                ["--repo"],
                also=["--storage"],
                metavar="URL",
                help="Repository: a folder, s3://bucket/prefix or any fsspec URL. [env: DATAVER_REPO]",
            ),
            click.Option(
                ["--storage-option"],
                metavar="KEY=VALUE",
                multiple=True,
                callback=parse_pairs,
                help="Setting of the store, e.g. endpoint_url=http://localhost:9000. Repeatable.",
            ),
        ]
    options += [
        click.Option(["-q", "--quiet"], is_flag=True, help="Print no progress and no summary."),
        click.Option(
            ["-v", "--verbose"], count=True, help="Print retries and decisions; twice: requests as well."
        ),
        click.Option(["--log-file"], metavar="FILE", type=click.Path(), help="Append all of these to FILE."),
    ]
    if as_json:
        options.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))
    return options


class Option(click.Option):
    """An option with additional hidden names, such as those of ClearML Data."""

    def __init__(self, *args: Any, also: Sequence[str] = (), **values: Any) -> None:
        super().__init__(*args, **values)
        self.also = list(also)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Register all names with the parser."""
        shown = self.opts
        self.opts = [*shown, *self.also]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def option(*names: str, **values: Any) -> Callable[[Function], Function]:
    """Declare an option; `also=` lists its hidden names, other arguments are those of `click.option`."""
    return click.option(*names, cls=Option, **values)


draft_option = option(
    "--draft",
    also=["--id"],
    metavar="ID",
    shell_complete=complete_draft,
    help="Use this draft instead of the current one; the first characters of its id suffice.",
)


def plan_option(what: str, name: str = "plan") -> Callable[[Function], Function]:
    """Declare `--plan`, with its alias `--dry-run`."""
    return option("--plan", name, also=["--dry-run"], is_flag=True, help=f"Only show what would be {what}.")


def time_option(name: str, help: str) -> Callable[[Function], Function]:  # noqa: A002  # as in click
    """Declare an option that takes a time, or a duration before now."""
    return click.option(name, metavar="TIME", callback=parse_time, help=help)


workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that read files. Default: one a core, at most 4, for many new files, else 1.",
)
upload_option = click.option(
    "--upload",
    is_flag=True,
    help="Upload packs while files are added, and keep no local copy: for data larger than the disk.",
)
rebase_option = click.option(
    "--rebase",
    is_flag=True,
    help="If others have changed the same paths since, keep this draft's content of them.",
)


def include_option(help: str) -> Callable[[Function], Function]:  # noqa: A002  # as in click
    """Declare `--include`: patterns of the files that a command takes."""
    return option(
        "--include",
        also=["--paths", "--path", "--filter", "--wildcard"],
        multiple=True,
        metavar="PATTERN",
        help=help,
    )


def exclude_option(help: str) -> Callable[[Function], Function]:  # noqa: A002  # as in click
    """Declare `--exclude`: patterns of files that a command leaves out."""
    return click.option("--exclude", multiple=True, metavar="PATTERN", help=help)


bump_option = click.option(
    "--bump",
    type=click.Choice(["major", "minor", "patch"]),
    default="patch",
    show_default=True,
    help="Part of the automatic label to increment.",
)


def record_options(note: str = "") -> Callable[[Function], Function]:
    """Declare `--metadata`, `--author` and `--created`; `note` is the condition under which they apply."""

    def decorate(function: Function) -> Function:
        for each in (
            time_option(
                "--created",
                help=f"Time of the version{note}, such as 2024-05-01, for imported data. Default: now.",
            ),
            click.option(
                "--author", metavar="NAME", help=f"Author of the version{note}. [env: DATAVER_AUTHOR]"
            ),
            click.option(
                "--metadata",
                multiple=True,
                metavar="KEY=VALUE",
                callback=parse_json_pairs,
                help=f"Attach a value{note}, as JSON if it is valid JSON, else as text. Repeatable.",
            ),
        ):
            function = each(function)
        return function

    return decorate


def parse_json_pairs(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` options as a mapping; a value is JSON if it is valid JSON, else text."""
    return {key: _json_or_text(text) for key, text in parse_pairs(ctx, param, values).items()}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


fork_option = click.option(
    "--allow-fork",
    is_flag=True,
    help="If others have published since, publish beside their version, which stays the latest.",
)
spool_option = click.option(
    "--spool",
    metavar="SIZE",
    callback=parse_size,
    help="Limit of local data that waits to be uploaded, such as 2G; reading pauses at it. [default: 256M]",
)


def ref_argument(name: str = "ref", *, required: bool = True) -> Callable[[Function], Function]:
    """Declare a version argument: `name`, `name@label`, `name@tag`, `name@latest`, `dv1:<prefix>`."""
    return click.argument(name, required=required, shell_complete=complete_ref)


def dataset_name(function: Function) -> Function:
    """Declare a dataset's name as an argument, or as `--name` with an optional `--project` before it."""

    def join(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        name = value or ctx.meta.get("dataset")
        project = ctx.meta.get("project")
        return f"{project}/{name}" if project and name else name

    def keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value:
            ctx.meta["dataset" if param.name == "dataset_option" else "project"] = value.strip("/")

    for decorate in (
        click.argument("name", required=False, callback=join, shell_complete=complete_ref),
        click.option(
            "--name", "dataset_option", expose_value=False, is_eager=True, callback=keep, hidden=True
        ),
        click.option("--project", "project", expose_value=False, is_eager=True, callback=keep, hidden=True),
    ):
        function = decorate(function)
    return function
