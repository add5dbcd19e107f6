"""`dataver verify`."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import exclude_option, include_option, option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.checkout import RepositoryReport, VerifyReport

_SHOWN = 50
_NAMED = 10  # affected versions in the last line
_MEND = (
    "add the same files again, for example with `dataver sync FOLDER --name NAME`, which writes "
    "damaged data again; or restore the listed objects from a copy"
)


@subcommand(
    "verify",
    examples="""
        dataver verify                                # the whole repository, each object once
        dataver verify vision/cats@1.0.1              # read all data and check every digest
        dataver verify vision/cats@1.0.1 --quick      # only the checksums of the stored data
        dataver verify vision/cats@1.0.1 work/        # a local folder against the version
        dataver verify vision/cats@1.0.1 work/ --include train    # after a fetch of this part
    """,
)
@ref_argument(required=False)
@click.argument("folder", required=False, type=click.Path())
@option("--folder", "folder_option", type=click.Path(), hidden=True)
@include_option("Only matching files of FOLDER. Repeatable.")
@exclude_option("Omit matching files of FOLDER. Repeatable.")
@click.option(
    "--quick", is_flag=True, help="Check only the checksums of the stored bytes, without decompressing."
)
def command(
    session: Session,
    ref: str | None,
    folder: str | None,
    *,
    folder_option: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    quick: bool,
) -> None:
    """Check the repository, a version in it, or a local folder against a version.

    Without a name: every version of every dataset, each pack and tree block once, and all records, tags,
    tombstones, lineage and notes of writers. Damage is listed with the versions that it affects, and the exit
    code is 6.
    """
    where = folder or folder_option
    if where and quick:
        raise click.UsageError("--quick works only for the repository; a folder is checked by digests")
    if where and ref is None:
        raise click.UsageError("a folder is compared with a version: dataver verify NAME@LABEL FOLDER")
    if (include or exclude) and not where:
        raise click.UsageError("--include and --exclude choose files of FOLDER; a version is verified whole")
    repository = session.repository()
    began = time.perf_counter()
    with session.progress("Verifying") as progress:
        if ref is None:
            whole = repository.verify(quick=quick, progress=progress)
        elif where:
            report = repository.verify_folder(
                ref, where, include=include or None, exclude=exclude, progress=progress
            )
        else:
            report = repository.verify(ref, quick=quick, progress=progress)
    seconds = time.perf_counter() - began
    if ref is None:
        _show_repository(session, repository.url, whole, seconds)
    else:
        _show_version(session, ref, where, report, seconds)


def _show_version(
    session: Session, ref: str, where: str | None, report: "VerifyReport", seconds: float
) -> None:
    from dataver.errors import IntegrityError

    _show(session, {"ref": ref}, report, seconds)
    subject = f"{where} against {ref}" if where else ref
    if not report.ok:
        found = count(len(report.findings), "finding")
        hint = "`dataver fetch --overwrite` repairs a copy" if where else _MEND
        raise IntegrityError(f"{subject}: {found}.", hint=hint)
    packs = "" if where else f" in {count(report.packs, 'pack')}"
    session.out.note(
        f"Verified {subject}: {count(report.files, 'file')}, {size(report.size)}{packs}, "
        f"all intact, {duration(seconds)}."
    )


def _show_repository(session: Session, url: str, report: "RepositoryReport", seconds: float) -> None:
    from dataver.errors import IntegrityError

    own = {"versions": report.versions, "objects": report.objects, "stored": report.stored}
    _show(session, {"repository": url, **own, "affected": report.affected}, report, seconds)
    checked = f"{count(report.versions, 'version')}, {count(report.objects, 'object')}, {size(report.stored)}"
    if not report.ok:
        kinds = Counter(_kind(name) for name, _ in report.findings)
        damaged = ", ".join(count(number, kind) for kind, number in kinds.items())
        raise IntegrityError(
            f"{url}: damaged: {damaged}; affected: {_affected(report.affected)}; checked: {checked}.",
            hint=_MEND,
        )
    session.out.note(f"Verified {url}: {checked}, all intact, {duration(seconds)}.")


def _kind(name: str) -> str:
    """Return what a finding about a repository is about."""
    if name.startswith(("pack ", "tree block ")):
        return name.rpartition(" ")[0]
    _, at, path = name.partition("@")
    if at and "/" in path:
        return "file"
    return "record" if at else "other object"


def _affected(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}" if names else "no version"


def _show(session: Session, values: dict[str, Any], report: "VerifyReport", seconds: float) -> None:
    """Print the findings, or all values as JSON."""
    values |= {
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
