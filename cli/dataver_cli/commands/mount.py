"""`dataver mount`."""

import json
import signal
from typing import TYPE_CHECKING

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import count, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.mounting import Mount


@subcommand(
    "mount",
    examples="""
        dataver mount vision/cats@1.2.0 data/
        dataver mount vision/cats@production data/ --json     # prints a line when the folder is ready
        fusermount3 -u data/                                  # ends it, as Ctrl-C does
    """,
)
@ref_argument()
@click.argument("folder", type=click.Path(), metavar="FOLDER")
@click.option("--allow-other", is_flag=True, help="Let other users read it too; otherwise not even root may.")
def command(session: Session, ref: str, folder: str, allow_other: bool) -> None:
    """Make a version readable as a folder, without fetching it.

    Any program reads the files, and only what it reads is brought here, every byte checked. FOLDER must be
    empty. The version is there until Ctrl-C, or until FOLDER is unmounted. Needs Linux with FUSE: /dev/fuse,
    and for users other than root the package fuse3.
    """
    from dataver.mounting import mount

    keep_freed_memory()
    repository = session.repository()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # they end it as Ctrl-C does: with the folder unmounted
        if signal.getsignal(ending) != signal.SIG_IGN:  # as `nohup` asks
            signal.signal(ending, signal.default_int_handler)
    mounted = mount(
        repository.files(ref),
        folder,
        others=allow_other,
        report=lambda path, error: session.out.warn(f"{path}: {error}"),
    )
    try:
        _announce(session, mounted)
        mounted.wait()
    except KeyboardInterrupt:
        _end(session, mounted)


def _announce(session: Session, mounted: "Mount") -> None:
    record = mounted.files.published.record
    if session.out.as_json:
        value = {
            "ref": mounted.files.ref,
            "digest": mounted.files.digest,
            "folder": str(mounted.folder),
            "files": record.files,
            "size": record.size,
        }
        click.echo(json.dumps(value))
    else:
        holds = f"{count(record.files, 'file')}, {size(record.size)}"
        session.out.note(f"{mounted.files.ref} ({holds}) is in {mounted.folder} until Ctrl-C.")


def _end(session: Session, mounted: "Mount") -> None:
    """Unmount; wait for programs that still read, unless Ctrl-C is pressed again."""
    try:
        if mounted.unmount():
            return
        session.out.warn(
            f"{mounted.folder} is unmounted, but programs still have files of it open;"
            " Ctrl-C again ends them."
        )
        mounted.wait()
    except KeyboardInterrupt:
        session.out.warn("what these programs read from now on is an error for them.")
