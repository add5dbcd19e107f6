"""`python -m benchmarks`: measure dataver beside its peers and the limits; see README.md in this folder."""

import argparse
import fcntl
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TextIO

from benchmarks.data import DATASETS, make
from benchmarks.machine import Machine, machine_facts
from benchmarks.report import markdown
from benchmarks.requests import can_count
from benchmarks.results import Result, keep_finished, read_results, write_result
from benchmarks.rounds import OPERATIONS, Round, run_round
from benchmarks.tools import TOOLS, Tool


def main() -> int:
    """Run what the arguments say; 1 when an operation failed or a restore was not the same."""
    args = _arguments()
    work = args.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    before = read_results([args.out]) if args.append and args.out.exists() else []
    machine = machine_facts(work)
    failures = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a round that is ended cleans up
    lock = (work / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print(f"{work} is in use by another run; --work chooses another folder", file=sys.stderr)
        return 1
    finished = keep_finished(args.out) if args.resume else set()
    with args.out.open("a" if args.append or args.resume else "w") as out:
        tools = _find(args.tools, machine, out, before)
        for name in args.datasets:
            _make_apart(name, work / "sets", args.scale)
        for turn in [0] if args.requests else range(1, args.runs + 1):
            for name in args.datasets:
                number = turn + max((row.run or 0 for row in before if row.dataset == name), default=0)
                number = 0 if args.requests else number
                here = {
                    kind: words for kind, words in tools.items() if turn < 2 or kind.name not in args.once
                }
                if (name, number) in finished or not here:
                    continue
                for result in run_round(_plan(args, name, number, work, machine), here):
                    failures += result.error is not None
                    write_result(out, result)
    print(markdown(read_results([args.out])))
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument(
        "--datasets",
        type=_names(DATASETS),
        default=["images", "tiny"],
        metavar="A,B",
        help="of " + ", ".join(DATASETS),
    )
    parser.add_argument(
        "--tools", type=_names(TOOLS), default=list(TOOLS), metavar="A,B", help="of " + ", ".join(TOOLS)
    )
    parser.add_argument(
        "--operations",
        type=_names(OPERATIONS),
        default=list(OPERATIONS),
        metavar="A,B",
        help="of " + ", ".join(OPERATIONS) + "; versions are always added",
    )
    parser.add_argument("--runs", type=int, default=3, help="rounds; the tables give medians")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="size of the data sets, 1 is that of README.md"
    )
    parser.add_argument(
        "--once",
        type=_names(TOOLS),
        default=[],
        metavar="A,B",
        help="tools that take part in the first round only",
    )
    parser.add_argument(
        "--requests", action="store_true", help="one untimed round that counts requests, instead (strace)"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds one command may take")
    parser.add_argument(
        "--nice", type=int, default=0, help="niceness of what is measured; below 0 takes root"
    )
    parser.add_argument(
        "--beside", type=Path, metavar="FILE", help="a lock file that other work on the machine waits for"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/latest.jsonl"), help="JSON lines"
    )
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--append", action="store_true", help="add rounds to the results that are there")
    more.add_argument("--resume", action="store_true", help="keep the finished rounds, do those that are not")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir(), "dataver-benchmarks"),
        help="data sets (kept) and repositories (removed)",
    )
    args = parser.parse_args()
    if args.requests and not can_count():
        parser.error("--requests needs strace")
    return args


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def _find(
    names: list[str], machine: Machine, out: TextIO, before: list[Result]
) -> dict[type[Tool], list[str]]:
    """Return the tools that are here with the words that start them; name the others, also in the results."""
    found = {}
    for name in names:
        kind = TOOLS[name]
        program = kind.find()
        if program:
            found[kind] = program
            continue
        variable = f"BENCH_{name.upper().replace('-', '_')}"
        missing = f"not found; {kind.source}, then PATH, {variable} or BENCH_PEERS"
        print(f"{name}: {missing}", file=sys.stderr)
        if not any(row.tool == name and row.missing for row in before):
            write_result(out, Result(tool=name, missing=missing, machine=machine))
    return found


def _make_apart(name: str, folder: Path, scale: float) -> None:
    """Make a data set in another process: a child starts with its parent's peak memory as its own."""
    subprocess.run([sys.executable, "-m", "benchmarks.data", name, str(folder), str(scale)], check=True)


def _plan(args: argparse.Namespace, name: str, number: int, work: Path, machine: Machine) -> Round:
    return Round(
        number=number,
        dataset=name,
        scale=args.scale,
        versions=make(name, work / "sets", args.scale),
        operations=frozenset(args.operations),
        timeout=args.timeout,
        work=work / "round",
        machine=machine,
        nice=args.nice,
        counting=args.requests,
        beside=args.beside,
    )


if __name__ == "__main__":
    sys.exit(main())
