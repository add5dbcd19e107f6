"""`dataver mount`."""

import signal
from typing import TYPE_CHECKING

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import count, json_text, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.mounting import Mount


@subcommand(
    "mount",
    examples="""
        dataver mount vision/cats@1.2.0 data/
        dataver mount vision/cats@production data/ --json     # prints a line when the folder is ready
        fusermount3 -u data/                                  # unmount, as Ctrl-C does
    """,
)
@ref_argument()
@click.argument("folder", type=click.Path(), metavar="FOLDER")
@click.option("--allow-other", is_flag=True, help="Let all users read it; otherwise not even root can.")
def command(session: Session, ref: str, folder: str, allow_other: bool) -> None:
    """Mount a version as a read-only folder, without fetching it.

    Any program can read the files. Only the data that it reads is transferred, and every byte is verified.
    FOLDER must be empty. The mount ends with Ctrl-C, or when FOLDER is unmounted. It needs Linux with FUSE:
    /dev/fuse, and for users other than root the package fuse3.
    """
    from dataver.mounting import mount

    keep_freed_memory()
    repository = session.repository()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # unmount the folder, as Ctrl-C does
        if signal.getsignal(ending) != signal.SIG_IGN:  # ignored under `nohup`
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
        click.echo(json_text(value))
    else:
        holds = f"{count(record.files, 'file')}, {size(record.size)}"
        session.out.note(f"{mounted.files.ref} ({holds}) is in {mounted.folder} until Ctrl-C.")


def _end(session: Session, mounted: "Mount") -> None:
    """Unmount; wait for programs with open files, unless Ctrl-C is pressed again."""
    try:
        if mounted.unmount():
            return
        session.out.warn(
            f"{mounted.folder} is unmounted, but programs still have its files open;"
            " press Ctrl-C again to end the mount without waiting."
        )
        mounted.wait()
    except KeyboardInterrupt:
        session.out.warn("further reads of these programs will fail.")
