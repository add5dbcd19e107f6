"""`dataver verify`."""

import time

import click

from dataver_cli.command import option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

_SHOWN = 50


@subcommand(
    "verify",
    examples="""
        dataver verify vision/cats@1.0.1              # read everything, check every digest
        dataver verify vision/cats@1.0.1 --quick      # only the checksums of what is stored
        dataver verify vision/cats@1.0.1 work/        # a local folder against the version
    """,
)
@ref_argument()
@click.argument("folder", required=False, type=click.Path())
@option("--folder", "folder_option", type=click.Path(), hidden=True)
@click.option(
    "--quick", is_flag=True, help="Checksums of the stored bytes; nothing is decompressed or hashed."
)
def command(session: Session, ref: str, folder: str | None, folder_option: str | None, quick: bool) -> None:
    """Check a version in the repository, or a local folder against it.

    What is wrong is listed, and the exit code is 6.
    """
    from dataver.errors import IntegrityError

    where = folder or folder_option
    if where and quick:
        raise click.UsageError("--quick is for the repository; a folder is checked by its files' digests")
    repository = session.repository()
    began = time.perf_counter()
    with session.progress("Verifying") as progress:
        if where:
            report = repository.verify_folder(ref, where, progress=progress)
        else:
            report = repository.verify(ref, quick=quick, progress=progress)
    seconds = time.perf_counter() - began
    values = {
        "ref": ref,
        "ok": report.ok,
        "files": report.files,
        "packs": report.packs,
        "size": report.size,
        "seconds": round(seconds, 3),
        "findings": [{"name": name, "what": what} for name, what in report.findings],
    }
    lines = [f"{name}: {what}" for name, what in report.findings[:_SHOWN]]
    if len(report.findings) > _SHOWN:
        lines.append(f"… and {len(report.findings) - _SHOWN:,} more (--json lists all)")
    session.out.show(values, lines)
    subject = f"{where} against {ref}" if where else ref
    if not report.ok:
        found = count(len(report.findings), "finding")
        hint = (
            "`dataver fetch --overwrite` mends a copy" if where else "restore the objects named from a copy"
        )
        raise IntegrityError(f"{subject}: {found}.", hint=hint)
    packs = "" if where else f" in {count(report.packs, 'pack')}"
    session.out.note(
        f"Verified {subject}: {count(report.files, 'file')}, {size(report.size)}{packs}, "
        f"all as they should be, {duration(seconds)}."
    )
