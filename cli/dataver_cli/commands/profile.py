"""`dataver profile`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import exclude_option, ref_argument, subcommand
from dataver_cli.output import count, duration, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.profiles.making import ProfileReport

_SHOWN = 20  # broken files


@subcommand(
    "profile",
    examples="""
        dataver profile vision/cats@1.0.1
        dataver profile vision/cats@1.0.1 'train/**'
        dataver profile vision/cats@1.0.1 train/0042.jpg --json     # what is known of the file
    """,
)
@ref_argument()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@exclude_option("Omit matching files. Repeatable.")
def command(session: Session, ref: str, paths: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """Find out what the files of a version are, and store it in the repository.

    Tables get a schema, statistics and sample rows, images their size and thumbnails, audio its length and
    peaks, arrays their shapes, JSON its shape, text its encoding, archives their listing. Each different file
    is read once, in any version of the dataset. With PATHs, which may be patterns, their profiles are shown.
    """
    version = session.repository().version(ref)
    with session.progress("Profiling") as progress:
        report = version.profile(paths or None, exclude=exclude, progress=progress)
    found: Iterator[dict[str, Any]] = (
        {"path": path, **profile}
        for path, profile in (version.profiles(paths, exclude=exclude) if paths else ())
    )
    session.out.show({**_values(version.ref, report), "profiles": found}, _lines(report, found))
    made = f"{count(report.made.total(), 'profile')} made, {report.known:,} known before"
    broken = f"; {count(len(report.problems), 'file')} broken" if report.problems else ""
    session.out.note(f"{version.ref}: {made}{broken}, {duration(report.seconds)}.")
    session.finish(report.missing, "got no profile")


def _values(ref: str, report: "ProfileReport") -> dict[str, Any]:
    return {
        "ref": ref,
        "made": dict(report.made),
        "known": report.known,
        "problems": [{"path": path, "problem": problem} for path, problem in report.problems],
        "seconds": round(report.seconds, 3),
    }


def _lines(report: "ProfileReport", found: Iterator[dict[str, Any]]) -> Iterator[str]:
    rows = [(each["path"], each["kind"], _summary(each)) for each in found]
    yield from table(rows, ("PATH", "KIND", "WHAT IT IS")) if rows else ()
    for path, problem in () if rows else report.problems[:_SHOWN]:
        yield f"{path}: {problem}"
    if not rows and len(report.problems) > _SHOWN:
        yield f"… and {len(report.problems) - _SHOWN:,} more (--json lists all)"


def _summary(profile: dict[str, Any]) -> str:
    """Return the short values of a profile; --json has all of them."""
    if "problem" in profile:
        return f"broken: {profile['problem']}"
    left_out = ("path", "kind", "full", "thumbnail")
    short = (
        f"{name} {value}"
        for name, value in profile.items()
        if name not in left_out and not isinstance(value, (list, dict))
    )
    return ", ".join(short)
