"""Groups of commands that import a command when it is used, and list all commands without importing them."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["LazyGroup", "write_examples"]


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write examples without wrapping them; a comment that does not fit stands above its command."""
    with formatter.section("Examples"):
        for line in examples:
            command, mark, comment = line.partition("  # ")
            if mark and len(line) + 4 > formatter.width:
                formatter.write(f"  # {comment}\n  $ {command.rstrip()}\n")
            else:
                formatter.write(f"  $ {line}\n")


class LazyGroup(click.Group):
    """A group whose commands are modules of a package, each with one `command`.

    Attributes:
        package: the package.
        sections: title → name → line of help, in the order of the help.
        aliases: hidden names.
        answers: what to use instead of commands that do not exist.
        examples: command lines that follow the help.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        sections: Mapping[str, Mapping[str, str]],
        aliases: Mapping[str, str] | None = None,
        answers: Mapping[str, str] | None = None,
        examples: Sequence[str] = (),
        **values: Any,
    ) -> None:
        super().__init__(*args, **values)
        self.package = package
        self.sections = sections
        self.aliases = aliases or {}
        self.answers = answers or {}
        self.examples = examples
        self._lines = {name: text for section in sections.values() for name, text in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name or alias."""
        name = self.aliases.get(cmd_name, cmd_name)
        if name not in self._lines:
            return None
        module = f"{name}_" if iskeyword(name) else name.replace("-", "_")
        found = import_module(f"{self.package}.{module}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name, suggest others. `help` shows the help of the rest."""
        if ctx.resilient_parsing:  # for completion, which must print nothing
            known = args[1:] if args[0] == "help" else args
            there = bool(known) and self.get_command(ctx, known[0]) is not None
            return super().resolve_command(ctx, known) if there else (None, None, [])
        if args[0] == "help":
            args = [*args[1:], "--help"]
            if args == ["--help"]:
                click.echo(ctx.get_help(), color=ctx.color)
                ctx.exit()
        if args[0] not in self._lines and args[0] not in self.aliases and not args[0].startswith("-"):
            ctx.fail(f"unknown command {args[0]!r}.{self._suggestion(args[0])}")
        return super().resolve_command(ctx, args)

    def _suggestion(self, name: str) -> str:
        answer = self.answers.get(name.replace("_", "-").lower())
        if answer is not None:
            return f" {answer[:1].upper()}{answer[1:]}."
        from difflib import get_close_matches

        near = get_close_matches(name, [*self._lines, *self.aliases], n=2)
        return f" Did you mean {' or '.join(near)}?" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands, section by section."""
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(10), text) for name, text in commands.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, [line.removeprefix("$ ") for line in self.examples])
        formatter.write(f"\n`{ctx.command_path} COMMAND --help` shows more, with examples.\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=text)
            for name, text in self._lines.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)
