"""How many files and functions of dataver three daily tasks enter: what a reader of the code has to follow.

    python -m benchmarks.trips [--root CHECKOUT] [--list]

Each task is counted as a call on an opened repository, and as a whole command. Fetch and lineage run for the
second time: caches and indexes are ready. A function is counted once, however often it is called, on any
thread; code that runs on import is not counted, and runs are not recorded meanwhile. `--root` counts another
checkout, to compare.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_OPEN = "import dataver; repo = dataver.open()"
_CLI = "from dataver_cli.main import main"
_TASKS = {  # name: the call's preparation, the call, and the command
    "add of six files": (f"{_OPEN}; draft = repo.draft()", "draft.add('cats')", ["add", "dogs"]),
    "fetch of a ready folder": (_OPEN, "repo.fetch('cats')", ["fetch", "cats"]),
    "lineage run": (f"{_OPEN}; lineage = repo.lineage", "lineage.run('job:1')", ["lineage", "run", "job:1"]),
}

_CODE = """
import atexit, inspect, json, sys, threading
root, out, before, call = sys.argv[1:5]
seen = set()
def note(frame, event, _):
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith((f"{root}cli/", f"{root}dataver/")):
        return
    name = code.co_qualname.partition(".<")[0]  # of a lambda or a nested function: the function around it
    if code.co_flags & inspect.CO_OPTIMIZED and name[0] != "<":  # not the body of a module or a class
        seen.add((code.co_filename[len(root):], name))
def keep():
    sys.setprofile(None)
    with open(out, "w") as file:
        json.dump(sorted(seen), file)
sys.argv[:] = ["dataver", *sys.argv[5:]]
exec(before)
atexit.register(keep)
threading.setprofile(note)
sys.setprofile(note)
exec(call)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trips", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout to count")
    parser.add_argument("--list", action="store_true", help="also print the files, with their functions")
    args = parser.parse_args()
    root = args.root.resolve()
    print("| task | files, call | functions, call | files, command | functions, command |")
    print("|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as work:
        environment = _prepare(root, Path(work))
        for name, (before, call, words) in _TASKS.items():
            cells = []
            for given in ([before, call], [_CLI, "main()", *words]):
                for _ in range(1 if name.startswith("add") else 2):
                    entered = _count(root, Path(work), environment, given)
                files = sorted({file for file, _ in entered})
                cells += [len(files), len(entered)]
                if args.list:
                    for file in files:
                        print(f"    {file}: {', '.join(what for where, what in entered if where == file)}")
            print(f"| {name} | {' | '.join(map(str, cells))} |", flush=True)


def _prepare(root: Path, work: Path) -> dict[str, str]:
    """Make a repository with a version, a run that used it, and a draft; return the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATAVER_")}
    environment |= {f"DATAVER_{name}": f"{work}/{name}" for name in ("REPO", "CACHE", "STATE")}
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{root / 'cli'}"
    for name in ("cats", "dogs"):
        (work / name).mkdir()
        for number in range(6):
            (work / name / f"{number}.bin").write_bytes(os.urandom(1000))
    for words in (
        ["init", environment["DATAVER_REPO"]],
        ["sync", "cats", "--name", "cats"],
        ["run", "--run", "job:1", "--", sys.executable, "-m", "dataver_cli", "fetch", "cats"],
        ["create", "cats"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "dataver_cli", *words],
            env=environment,
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"dataver {' '.join(words)}: {done.stderr}")
    return environment


def _count(root: Path, work: Path, environment: dict[str, str], given: list[str]) -> list[tuple[str, str]]:
    """Return the functions of the checkout that a call enters, with their files."""
    out = work / "entered.json"
    subprocess.run(
        [sys.executable, "-c", _CODE, f"{root}/", str(out), *given],
        env=environment | {"DATAVER_LINEAGE": "off"},
        cwd=work,
        check=True,
        capture_output=True,
    )
    return [(file, what) for file, what in json.loads(out.read_text("utf-8"))]


if __name__ == "__main__":
    main()
