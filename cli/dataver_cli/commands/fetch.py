"""`dataver fetch`."""

import click

from dataver_cli.command import option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session


@subcommand(
    "fetch",
    examples="""
        dataver fetch vision/cats@1.0.1                          # prints a read-only folder in the cache
        dataver fetch vision/cats@production --dest work/        # an own, writable copy
        dataver fetch vision/cats --dest work/ --paths 'train/**' --paths '*.csv'
        dataver fetch --locked vision/cats@production            # the version that dataver.lock has for it
        DATA=$(dataver fetch --quiet vision/cats@1.0.1) && python train.py "$DATA"
    """,
)
@ref_argument()
@option("--dest", also=["--copy"], type=click.Path(), metavar="DIR", help="Make an own, writable copy there.")
@option(
    "--paths",
    also=["--path", "--filter"],
    multiple=True,
    metavar="GLOB",
    help="Only what matches. Repeatable.",
)
@click.option(
    "--verify",
    type=click.Choice(["stat", "full"]),
    default="stat",
    show_default=True,
    help="How files that are there already are checked: by size and time, or by hashing them.",
)
@click.option("--overwrite", is_flag=True, help="Replace files in DIR that differ.")
@click.option("--locked", is_flag=True, help="Take the version that dataver.lock has for REF.")
def command(
    session: Session,
    ref: str,
    dest: str | None,
    paths: tuple[str, ...],
    verify: str,
    overwrite: bool,
    locked: bool,
) -> None:
    """Bring a version to this machine, every byte verified.

    REF is name, name@label, name@tag, name@latest or dv1:<digest>. Only what is missing moves: files and
    parts of files that the cache holds from other versions are used again. Prints the folder.
    """
    repository = session.repository()
    if locked:
        from dataver import LockFile

        ref = LockFile.find().pinned(repository, ref)
    with session.progress("Fetching", fresh="moved") as progress:
        report = repository.fetch(
            ref, dest=dest, paths=paths or None, verify=verify, overwrite=overwrite, progress=progress
        )
    values = {
        "ref": ref,
        "path": str(report.path),
        "files": report.files,
        "size": report.size,
        "transferred": report.transferred,
        "reused": report.reused,
        "extra": report.extra,
        "seconds": round(report.seconds, 3),
        "problems": [{"name": name, "reason": reason} for name, reason in report.problems],
    }
    session.out.show(values, [str(report.path)])
    session.out.note(
        f"Fetched {ref}: {count(report.files, 'file')}, {size(report.size)}; "
        f"{size(report.transferred)} moved, {size(report.reused)} reused, {duration(report.seconds)}."
    )
    if report.extra:
        session.out.warn(f"{report.path} also holds {count(report.extra, 'file')} that {ref} does not know")
    session.finish(report.problems, "could not be fetched")
