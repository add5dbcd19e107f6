"""`dataver fetch`."""

from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.checkout import FetchReport
    from dataver.tree.shard import Shard


@subcommand(
    "fetch",
    examples="""
        dataver fetch vision/cats@1.0.1                          # prints a read-only folder in the cache
        dataver fetch vision/cats@production --dest work/        # an own, writable copy
        dataver fetch vision/cats --dest work/ --paths 'train/**' --paths '*.csv'
        dataver fetch vision/cats@1.0.1 --shard 3/8              # the part of the fourth of eight readers
        dataver fetch --locked vision/cats@production            # the version that dataver.lock has for it
        dataver fetch --run mlflow:4f1c --dest again/            # what that run read, and the same part of it
        dataver fetch vision/cats --plan                         # how much, and how long?
        DATA=$(dataver fetch --quiet vision/cats@1.0.1) && python train.py "$DATA"
    """,
)
@ref_argument(required=False)
@option("--dest", also=["--copy"], type=click.Path(), metavar="DIR", help="Make an own, writable copy there.")
@option(
    "--paths",
    also=["--path", "--filter"],
    multiple=True,
    metavar="GLOB",
    help="Only what matches. Repeatable.",
)
@click.option(
    "--shard",
    metavar="R/W",
    help="Only the part of reader R of W, from 0 to W-1, balanced by bytes; 'rank' or 'node': as torchrun or "
    "Slurm say.",
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
@click.option("--plan", is_flag=True, help="Only show what would be moved.")
@click.option("--run", metavar="RUN", help="Instead of REF: bring exactly what that run read.")
def command(
    session: Session,
    ref: str | None,
    *,
    dest: str | None,
    paths: tuple[str, ...],
    shard: str | None,
    verify: str,
    overwrite: bool,
    locked: bool,
    plan: bool,
    run: str | None,
) -> None:
    """Bring a version to this machine, every byte verified.

    REF is name, name@label, name@tag, name@latest or dv1:<digest>. Only what is missing moves: files and
    parts of files that the cache holds from other versions are used again. Prints the folder.
    """
    told = paths or shard or locked or plan or overwrite or verify != "stat"
    if (ref is None) == (run is None) or (run and told):
        raise click.UsageError(
            "say which version: dataver fetch REF, or dataver fetch --run RUN [--dest DIR]"
        )
    repository = session.repository()
    part = _shard(shard)
    if locked and ref:
        from dataver import LockFile

        ref = LockFile.find().pinned(repository, ref)
    if plan and ref:
        from dataver_cli.planning import fetch_plan_lines, plan_values

        planned = repository.plan_fetch(ref, dest=dest, paths=paths or None, shard=part)
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
                paths=paths or None,
                shard=part,
                verify=verify,
                overwrite=overwrite,
                progress=progress,
            )
            reports = {ref: report}
    values = [_values(ref, report) for ref, report in reports.items()]
    session.out.show(values if run else values[0], [str(report.path) for report in reports.values()])
    for each, report in reports.items():
        session.out.note(
            f"Fetched {each}: {count(report.files, 'file')}, {size(report.size)}; "
            f"{size(report.transferred)} moved, {size(report.reused)} reused, {duration(report.seconds)}."
        )
        if report.extra:
            extra = count(report.extra, "file")
            session.out.warn(f"{report.path} also holds {extra} that {each} does not know")
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
