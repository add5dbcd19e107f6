"""`dataver demo`: the main workflow on generated data, with the commands that a user would type.

The commands run in this process, through the same `main` as on a command line, in a separate folder with its
own repository and cache. No file of the user is read or changed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from shlex import join
from textwrap import indent

import click

from dataver_cli.command import subcommand
from dataver_cli.demo_data import TRAINING, differences, files_in, first, second
from dataver_cli.output import count, size
from dataver_cli.session import Session


@subcommand(
    "demo",
    examples="""
        dataver demo
        dataver demo --keep                   # keep the folder
        dataver demo --folder /tmp/try        # work in this folder and keep it
    """,
    repo=False,
    as_json=False,
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Work in this empty or new folder, and keep it."
)
@click.option("--keep", is_flag=True, help="Keep the folder.")
def command(session: Session, folder: Path | None, keep: bool) -> int:
    """Create two versions of a dataset from generated data, in a temporary repository.

    Shows each command and its output: the differences, the stored size, a comparison of the fetched files
    byte for byte, the history, and which training run and which model a bad photo has spoiled. Ends with the
    commands that show all of it in a browser. Takes a few seconds and 60 MB of disk.
    """
    place = _place(folder)
    click.echo(f"# All files are in {place}")
    try:
        with _at_home_in(place), redirect_stderr(sys.stdout):
            code = _story(place)
    finally:
        if not keep and folder is None:
            _delete(place)
    if code == 0:
        _say_how_to_look(place, kept=keep or folder is not None)
    return code


def _say_how_to_look(place: Path, *, kept: bool) -> None:
    """Print the commands that show what was made in a browser."""
    given = sys.argv[0]  # of an environment that is not in PATH, as with `make demo`
    program = given if Path(given).name == "dataver" and shutil.which("dataver") != given else "dataver"
    repo = place / "repo" if kept else Path("demo/repo")
    if kept:
        click.echo(f"\n# Kept {place}. To look at it in a browser:\n")
    else:
        click.echo(f"\n# Deleted {place}. To keep it next time, and look at it in a browser:\n")
        click.echo(f"    {join([program, 'demo', '--folder', 'demo'])}")
    click.echo(f"    {join([program, 'ui', '--repo', str(repo)])}")


def _story(place: Path) -> int:
    click.echo("# photos/ and a table, generated from a fixed seed")
    first(place / "photos")
    steps: list[Sequence[str]] = [
        ("init", "repo"),
        ("create", "vision/cats"),
        ("add", "photos"),
        ("finalize", "-m", "first photos"),
        ("upload", "--tag", "production"),
    ]
    code = _run(steps)
    if code:
        return code
    before = _stored(place)
    click.echo("\n# Some photos are replaced, renamed, added and removed, and 300 rows of the table edited")
    second(place / "photos")
    code = _run(
        [
            ("sync", "photos", "--name", "vision/cats", "-m", "better photos"),
            ("diff", "vision/cats@1.0.0", "vision/cats@1.0.1"),
            ("list", "vision/cats"),
        ]
    )
    if code:
        return code
    _say_what_is_stored(place, before)
    return _fetch_back(place) or _run([("log", "vision/cats")]) or _train(place)


def _fetch_back(place: Path) -> int:
    code = _run(
        [
            ("fetch", "vision/cats@1.0.0"),
            ("fetch", "vision/cats@1.0.1", "--dest", "work"),
            ("verify", "vision/cats@1.0.1"),
        ]
    )
    if code:
        return code
    wrong = differences(place / "photos", place / "work")
    files = len(files_in(place / "photos"))
    click.echo(f"\n# work/ compared with photos/ byte for byte: {count(files, 'file')}, ", nl=False)
    click.echo(f"{count(len(wrong), 'difference')}: {', '.join(wrong)}" if wrong else "no difference")
    return 6 if wrong else 0


def _train(place: Path) -> int:
    """Train on both versions, and list the runs and versions that a bad file affects."""
    click.echo(
        f"\n# A training job in train.py; nothing in it is about lineage:\n\n{indent(TRAINING, '    ')}",
        nl=False,
    )
    (place / "train.py").write_text(TRAINING, "utf-8")
    code = _run(
        [
            ("run", "--run", "demo:june", "--", "python", "train.py", "vision/cats@1.0.0"),
            ("run", "--run", "demo:july", "--", "python", "train.py", "vision/cats@1.0.1"),
        ]
    )
    if code:
        return code
    click.echo("\n# What did the run of July read and make, and where does its model come from?")
    code = _run(
        [("lineage", "run", "demo:july"), ("lineage", "version", "models/cats@1.0.1", "--up")],
    )
    if code:
        return code
    click.echo("\n# Later: train/0001.jpg of version 1.0.1 shows a dog. What was made from it?")
    return _run([("lineage", "impact", "vision/cats@1.0.1", "--include", "train/0001.jpg")])


def _run(steps: Sequence[Sequence[str]]) -> int:
    from dataver_cli.main import main

    for step in steps:
        click.echo(f"\n$ dataver {join(step)}")
        code = main(step)
        if code:
            click.echo(f"# the command ended with exit code {code}")
            return code
    return 0


def _say_what_is_stored(place: Path, before: int) -> None:
    after, raw = _stored(place), sum(path.stat().st_size for path in files_in(place / "photos"))
    click.echo(
        f"\n# Stored: {size(before)} for the first version, {size(after - before)} more for the second, "
        f"which contains {size(raw)}"
    )


def _stored(place: Path) -> int:
    return sum(path.stat().st_size for path in files_in(place / "repo"))


def _place(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="dataver-demo-"))
    place = folder.absolute()
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise click.UsageError(f"{place} is not empty")
    return place


@contextmanager
def _at_home_in(place: Path) -> Iterator[None]:
    """Work in `place`, with its own repository, cache and lineage; `python` is the one that runs this."""
    here, kept = Path.cwd(), os.environ.copy()
    for name in ("DATAVER_REPO", "DATAVER_RUN", "DATAVER_LINEAGE"):
        os.environ.pop(name, None)
    os.environ["DATAVER_CACHE"], os.environ["DATAVER_STATE"] = str(place / "cache"), str(place / "state")
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(kept)


def _delete(place: Path) -> None:
    for root, folders, _ in os.walk(place):
        for folder in folders:
            path = Path(root, folder)
            if not path.is_symlink():
                path.chmod(0o700)  # fetched folders are read-only
    shutil.rmtree(place)
