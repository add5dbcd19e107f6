"""`dataver show`."""

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table
from dataver_cli.render import version_lines, version_values
from dataver_cli.session import Session


@subcommand(
    "show",
    examples="""
        dataver show vision/cats@1.0.1
        dataver show vision/cats              # its latest version, and all tags of the dataset
        dataver show dv1:3fa94c
    """,
)
@ref_argument()
def command(session: Session, ref: str) -> None:
    """Show the details of a version.

    REF is name, name@label, name@tag, name@latest or dv1:<digest>.
    """
    repository = session.repository()
    version = repository.version(ref)
    everything = repository.tagged(version.dataset)
    tags = [tag for tag, label in everything.items() if label == version.label]
    lines = table(version_lines(version, tags))
    others = [f"{tag} -> {label}" for tag, label in everything.items() if label != version.label]
    if others:
        lines.append(f"other tags of {version.dataset}: {', '.join(others)}")
    session.out.show({**version_values(version, tags), "dataset_tags": everything}, lines)
