"""`dataver export`."""

from dataclasses import asdict

import click

from dataver_cli.command import plan_option, ref_argument, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session, parse_size


@subcommand(
    "export",
    examples="""
        dataver export vision/cats@1.0.1 cats/
        dataver export vision/cats cats.tar --format tar
        dataver export vision/cats - --format tar | zstd > cats.tar.zst
        dataver export vision/cats shards/ --format webdataset --shard-size 500MB
        dataver export vision/cats remote/ --format dvc
        dataver export vision/cats cats/ --format hf
    """,
)
@ref_argument()
@click.argument("target", metavar="DIR|FILE")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["folder", "tar", "webdataset", "dvc", "hf"]),
    default="folder",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--shard-size",
    metavar="SIZE",
    default="1GB",
    callback=parse_size,
    help="Bytes of a tar file of webdataset.",
)
@click.option("--overwrite", is_flag=True, help="Write into a folder that is not empty; replace files.")
@plan_option("read and written")
def command(
    session: Session, ref: str, target: str, *, kind: str, shard_size: int, overwrite: bool, plan: bool
) -> None:
    """Write a version in the format of another tool.

    folder is the files, writable. tar is one tar file; "-" is standard output. webdataset is tar files
    that keep the files of a sample together. dvc is a folder that DVC reads as a remote, and a .dvc file.
    hf is the files with a dataset card, as for `hf upload` or `datasets.load_dataset`. Every byte is
    verified.
    """
    from dataver.exporters.exporting import check_target, export_version

    repository = session.repository()
    check_target(target, overwrite=overwrite)
    if plan:
        from dataver_cli.planning import fetch_plan_lines, plan_values

        planned = repository.plan_fetch(ref)
        session.out.show({"ref": ref, "path": target, **plan_values(planned)}, fetch_plan_lines(planned))
        return
    version = repository.version(ref)
    with session.progress("Exporting") as progress:
        report = export_version(
            version, target, kind, overwrite=overwrite, shard_size=shard_size, progress=progress
        )
    problems = [{"name": name, "reason": reason} for name, reason in report.problems]
    values = {"ref": version.ref, **asdict(report), "seconds": round(report.seconds, 3), "problems": problems}
    if target != "-":
        session.out.show(values, report.made or [report.path])
    session.out.note(
        f"Exported {version.ref} as {kind}: {count(report.files, 'file')}, {size(report.size)}, "
        f"{duration(report.seconds)}."
    )
    session.finish(report.problems, "could not be exported")
