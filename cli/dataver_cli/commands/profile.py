"""`dataver profile`."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from dataver_cli.command import exclude_option, ref_argument, subcommand
from dataver_cli.output import count, duration, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.profiles.making import ProfileReport

_SHOWN = 20  # broken files
_ARRAYS = 3
_KEYS = 5
_NUMPY = re.compile(r"[<>|=]([fiuc])(\d+)")
_TYPES = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


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
    session.out.show(
        {**_values(version.ref, report), "profiles": found}, _lines(report, found, asked=bool(paths))
    )
    made = f"{count(report.made.total(), 'profile')} made, {report.known:,} known before"
    broken = f"; {count(len(report.problems), 'file')} broken" if report.problems else ""
    session.out.note(f"{version.ref}: {made}{broken}, {duration(report.seconds)}.")
    session.finish(report.missing, "of files got no profile", "kind")


def _values(ref: str, report: "ProfileReport") -> dict[str, Any]:
    return {
        "ref": ref,
        "made": dict(report.made),
        "known": report.known,
        "problems": [{"path": path, "problem": problem} for path, problem in report.problems],
        "seconds": round(report.seconds, 3),
    }


def _lines(report: "ProfileReport", found: Iterator[dict[str, Any]], *, asked: bool) -> Iterator[str]:
    if asked:
        rows = [(each["path"], each["kind"], _summary(each)) for each in found]
        yield from (
            table(rows, ("PATH", "KIND", "WHAT IT IS")) if rows else ["No file of these has a profile."]
        )
        return
    for path, problem in report.problems[:_SHOWN]:
        yield f"{path}: {problem}"
    if len(report.problems) > _SHOWN:
        yield f"… and {len(report.problems) - _SHOWN:,} more (--json lists all)"


def _summary(profile: dict[str, Any]) -> str:
    """Return what a file is, in the order and the units of a person; --json has everything."""
    if "problem" in profile and not profile.get("columns"):
        return f"broken: {profile['problem']}"
    parts = [text for name, show in _SHORT.items() if name in profile and (text := show(profile))]
    return ", ".join(parts + [profile[name] for name in ("partial", "problem") if name in profile])


def _arrays(profile: dict[str, Any]) -> str:
    shown = [_array(each) for each in profile["arrays"][:_ARRAYS]]
    rest = profile["count"] - len(shown)
    return ", ".join([*shown, f"{rest:,} more"] if rest > 0 else shown)


def _array(each: dict[str, Any]) -> str:
    named = _NUMPY.fullmatch(each["dtype"])
    dtype = f"{_TYPES[named[1]]}{8 * int(named[2])}" if named else each["dtype"]
    return f"{'x'.join(map(str, each['shape'])) or 'scalar'} {dtype}"


def _shape(profile: dict[str, Any]) -> str:
    shape = profile["shape"]
    if not isinstance(shape, dict):
        return str(shape)
    if "list" in shape:
        return f"list of {shape['list']:,}"
    keys = list(shape.get("keys", ()))
    return f"object with {', '.join(keys[:_KEYS])}{', …' if len(keys) > _KEYS else ''}"


_SHORT: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "format": lambda found: found["format"],
    "encoding": lambda found: found["encoding"] or "",
    "width": lambda found: f"{found['width']:,}x{found['height']:,} {found['mode']}",
    "seconds": lambda found: duration(found["seconds"]),
    "rate": lambda found: f"{found['rate'] / 1000:g} kHz",
    "channels": lambda found: {1: "mono", 2: "stereo"}.get(
        found["channels"], f"{found['channels']} channels"
    ),
    "rows": lambda found: count(found["rows"], "row"),
    "columns": lambda found: count(len(found["columns"]), "column"),
    "arrays": _arrays,
    "shape": _shape,
    "members": lambda found: count(found["count"], "member"),
    "size": lambda found: size(found["size"]),
    "lines": lambda found: count(found["lines"], "line"),
}  # what a profile has, in this order
