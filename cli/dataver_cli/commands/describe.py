"""`dataver describe`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataver.documents import description_values
from dataver_cli.command import option, parse_json_pairs, ref_argument, subcommand
from dataver_cli.output import table, when
from dataver_cli.render import description_lines
from dataver_cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataver.formats.description import Description


_FIELDS: dict[str, Any] = {"text": "", "license": "", "owner": "", "readme": None, "metadata": {}}


@subcommand(
    "describe",
    examples="""
        dataver describe vision/cats@1.0.1 -m "July" --license CC-BY-4.0
        dataver describe vision/cats@1.0.1 --set camera=7 --unset draft
        dataver describe vision/cats@1.0.1 --history
        dataver describe vision/cats --dataset --owner ann --readme CARD.md
    """,
)
@ref_argument()
@click.option(
    "-m", "--message", "text", metavar="TEXT", help='What it is, in a few sentences; "" removes it.'
)
@click.option("--license", metavar="SPDX", help='License, such as CC-BY-4.0; "" removes it.')
@click.option("--owner", metavar="NAME", help='Person or team that is responsible; "" removes it.')
@click.option(
    "--readme",
    type=click.Path(path_type=Path),
    help="Markdown file with more about it; an empty file restores the version's own README.md.",
)
@option(
    "--set",
    also=["--metadata"],
    multiple=True,
    metavar="KEY=VALUE",
    callback=parse_json_pairs,
    help="Metadata, as JSON if it is valid JSON, else as text. Repeatable.",
)
@click.option("--unset", multiple=True, metavar="KEY", help="Remove metadata. Repeatable.")
@click.option("--dataset", is_flag=True, help="Describe the dataset as a whole, not one version.")
@click.option("--history", is_flag=True, help="List all descriptions instead.")
def command(
    session: Session,
    ref: str,
    *,
    readme: Path | None,
    dataset: bool,
    history: bool,
    **given: Any,
) -> None:
    """Describe a version, or with --dataset a dataset as a whole.

    Without options, it shows the description. The version itself does not change: descriptions lie beside it,
    and all of them are kept, with their authors and times. What is not given stays as it is.
    """
    fields = {name: value for name, value in given.items() if value not in (None, {}, ())}
    if readme is not None:
        fields["readme"] = _text_of(readme)
    if history and fields:
        raise click.UsageError("--history only lists, and needs no other options")
    repository = session.repository()
    if dataset and "@" in ref:
        raise click.UsageError("--dataset needs a dataset's name without a version")
    target: Any = repository.version(ref)  # raises NotFound with similar names
    name, call = (ref, f"{ref} --dataset") if dataset else (target.ref, ref)
    nothing = f"{name} has no description; `dataver describe {call} -m TEXT` adds one."
    if history:
        found = repository.description_history(ref) if dataset else target.description_history()
        session.out.show([description_values(each) for each in found], _table(found))
        if not found:
            session.out.note(nothing)
        return
    if fields:
        made = repository.describe(ref, **fields) if dataset else target.describe(**fields)
        session.out.show({"ref": name, **description_values(made)}, [])
        session.out.note(f"Described {name}; `dataver describe {call} --history` lists all descriptions.")
        return
    current = repository.description(ref) if dataset else target.description
    if current is None:
        session.out.show(None, [])
        session.out.note(nothing)
        return
    pairs = [*description_lines(current), ("by", f"{current.author}, {when(current.created)}")]
    pairs += [(f"  {key}", str(value)) for key, value in sorted(current.metadata.items())]
    lines = table(pairs)
    if current.readme is not None:
        lines += ["", *current.readme.splitlines()]
    session.out.show({"ref": name, **description_values(current)}, lines)


def _text_of(readme: Path) -> str:
    from dataver.errors import InvalidInput

    try:
        return readme.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(f"{readme} cannot be read: {reason}.", hint="name a Markdown file") from error


def _table(found: "Sequence[Description]") -> list[str]:
    rows = []
    for number, each in enumerate(found):
        before = found[number - 1] if number else None
        changed = [name for name in _FIELDS if getattr(each, name) != getattr(before, name, _FIELDS[name])]
        text = (each.text.splitlines() or [""])[0]
        rows.append((str(each.number), when(each.created), each.author, ", ".join(changed) or "-", text))
    return table(rows, ("NUMBER", "WHEN", "BY", "CHANGED", "TEXT"), right=(0,)) if rows else []
