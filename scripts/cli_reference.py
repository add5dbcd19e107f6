"""Write docs/cli.md from the commands, or with --check fail if it is stale."""

import sys
from pathlib import Path

import click

from dataver_cli.command import Command
from dataver_cli.errors import EXIT_CODES
from dataver_cli.group import LazyGroup
from dataver_cli.main import SECTIONS, cli
from dataver_cli.other_names import ALIASES

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"


def main() -> int:
    """Write or check the page; return the exit code."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    sys.stderr.write("docs/cli.md is stale: run `make docs`\n")
    return 1


def page() -> str:
    """Return the whole page."""
    lines = [
        "# Command line",
        "",
        "Generated from the commands by `make docs`; do not edit. `REF` is `name`, `name@label`, `name@tag`,",
        "`name@latest`, or `dv1:` and an unambiguous beginning of a digest. Results are written to standard",
        "output; summaries, warnings and progress to standard error.",
        "",
    ]
    context = click.Context(cli, info_name="dataver", help_option_names=["-h", "--help"])
    for title, commands in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in commands:
            lines += part(cli, name, context)
    lines += ["## Other names", "", "These aliases are names that shells, git and ClearML Data use:", ""]
    lines += [f"- `dataver {other}` is `dataver {name}`" for other, name in ALIASES.items()]
    lines += [
        "- `dataver help [COMMAND]` is `dataver [COMMAND] --help`",
        "- `dataver version` is `dataver --version`",
    ]
    lines += ["", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def part(group: LazyGroup, name: str, above: click.Context, before: str = "") -> list[str]:
    """Return the section of a command, or of all commands of a group."""
    found = group.get_command(above, name)
    context = click.Context(found, parent=above, info_name=name)
    if isinstance(found, Command):
        return section(before + name, found, context)
    assert isinstance(found, LazyGroup)
    lines = [f"### {before}{name}", "", found.help or "", ""]
    for each in found.list_commands(context):
        lines += part(found, each, context, f"{before}{name} ")
    return lines


def section(name: str, command: Command, context: click.Context) -> list[str]:
    """Return one command's part."""
    usage = " ".join(command.collect_usage_pieces(context))
    title, _, rest = (command.help or "").partition("\n")
    lines = [
        f"### {name}",
        "",
        f"    dataver {name} {usage}",
        "",
        title,
        *rest.splitlines(),
    ]
    found = (each.get_help_record(context) for each in command.get_params(context))
    rows = [record for record in found if record and record[1]]
    lines += ["", "| option | |", "|---|---|"]
    lines += [f"| `{option}` | {text} |".replace("[ID]", "ID") for option, text in rows]
    return [*lines, "", *(f"    $ {example}" for example in command.examples), ""]


if __name__ == "__main__":
    sys.exit(main())
