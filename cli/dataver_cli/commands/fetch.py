"""`dataver fetch`."""

from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import exclude_option, include_option, option, plan_option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.checkout import FetchReport
    from dataver.tree.shard import Shard


@subcommand(
    "fetch",
    examples="""
        dataver fetch vision/cats@1.0.1                          # prints a read-only folder in the cache
        dataver fetch vision/cats@production --dest work/        # a writable copy
        dataver fetch vision/cats --dest work/ --include train/ --include '*.csv'
        dataver fetch vision/cats --include train --exclude '*.tmp'
        dataver fetch vision/cats@1.0.1 --shard 3/8              # the part of the fourth of eight readers
        dataver fetch --locked vision/cats@production            # the version in dataver.lock
        dataver fetch --run mlflow:4f1c --dest again/            # exactly the files that the run read
        dataver fetch vision/cats --plan                         # show size and expected time
        DATA=$(dataver fetch --quiet vision/cats@1.0.1) && python train.py "$DATA"
    """,
)
@ref_argument(required=False)
@option("--dest", also=["--copy"], type=click.Path(), metavar="DIR", help="Write a writable copy to DIR.")
@include_option("Only matching files. Repeatable.")
@exclude_option("No matching files, even if --include matches them. Repeatable.")
@click.option(
    "--shard",
    metavar="R/W",
    help="Only the part of reader R of W, from 0 to W-1, balanced by bytes; 'rank' or 'node': as set by "
    "torchrun or Slurm.",
)
@click.option(
    "--verify",
    type=click.Choice(["stat", "full"]),
    default="stat",
    show_default=True,
    help="How existing files are checked: by size and time, or by hashing them.",
)
@click.option("--overwrite", is_flag=True, help="Replace files in DIR that differ.")
@click.option("--locked", is_flag=True, help="Fetch the version that dataver.lock records for REF.")
@plan_option("transferred")
@click.option("--run", metavar="RUN", help="Instead of REF: fetch exactly the files that RUN read.")
def command(
    session: Session,
    ref: str | None,
    *,
    dest: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    shard: str | None,
    verify: str,
    overwrite: bool,
    locked: bool,
    plan: bool,
    run: str | None,
) -> None:
    """Fetch a version to this machine and verify every byte.

    REF is name, name@label, name@tag, name@latest or dv1:<digest>. Only missing data is transferred: files
    and parts of files from other versions in the cache are reused. Prints the folder.
    """
    told = include or exclude or shard or locked or plan or overwrite or verify != "stat"
    if (ref is None) == (run is None) or (run and told):
        raise click.UsageError("missing version: dataver fetch REF, or dataver fetch --run RUN [--dest DIR]")
    repository = session.repository()
    part = _shard(shard)
    if locked and ref:
        from dataver import LockFile

        ref = LockFile.find().pinned(repository, ref)
    if plan and ref:
        from dataver_cli.planning import fetch_plan_lines, plan_values

        planned = repository.plan_fetch(ref, dest=dest, include=include or None, exclude=exclude, shard=part)
        session.out.show({"ref": ref, **plan_values(planned)}, fetch_plan_lines(planned))
        return
    with session.progress("Fetching", fresh="moved") as progress:
        if run:
            reports = repository.fetch_run(run, dest=dest, progress=progress)
        else:
            assert ref is not None
            report = repository.fetch(
                ref,
                dest=dest,
                include=include or None,
                exclude=exclude,
                shard=part,
                verify=verify,
                overwrite=overwrite,
                progress=progress,
            )
            reports = {ref: report}
    _show(session, repository.url, reports, several=run is not None)


def _show(session: Session, url: str, reports: "dict[str, FetchReport]", *, several: bool) -> None:
    """Print the reports by version, and end with the files that could not be fetched."""
    values = [_values(ref, report) for ref, report in reports.items()]
    session.out.show(values if several else values[0], [str(report.path) for report in reports.values()])
    for each, report in reports.items():
        session.out.note(
            f"Fetched {each} from {url}: {count(report.files, 'file')}, {size(report.size)}; "
            f"{size(report.transferred)} moved, {size(report.reused)} reused, {duration(report.seconds)}."
        )
        if report.extra:
            extra = count(report.extra, "file")
            session.out.warn(f"{report.path} also contains {extra} that {each} does not have")
    for why in {report.uncached for report in reports.values() if report.uncached}:
        session.out.warn(f"{why.removesuffix('.')}; no cache was used")
    problems = [problem for report in reports.values() for problem in report.problems]
    session.finish(problems, "could not be fetched")


def _shard(text: str | None) -> "Shard | str | None":
    if text is None or text in ("rank", "node"):
        return text
    from dataver.tree.shard import Shard

    return Shard.parse(text)


def _values(ref: str, report: "FetchReport") -> dict[str, Any]:
    return {
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
