"""`python -m benchmarks`: measure dataver beside its peers and the limits; see README.md in this folder."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TextIO

from benchmarks.data import DATASETS, make
from benchmarks.machine import Machine, machine_facts
from benchmarks.report import markdown
from benchmarks.results import Result, read_results, write_result
from benchmarks.rounds import OPERATIONS, Round, run_round
from benchmarks.tools import TOOLS, Tool


def main() -> int:
    """Run what the arguments say; 1 when an operation failed or a restore was not the same."""
    args = _arguments()
    work = args.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    machine = machine_facts(work)
    failures = 0
    with args.out.open("a" if args.append else "w") as out:
        tools = _find(args.tools, machine, out)
        for name in args.datasets:
            _make_apart(name, work / "sets", args.scale)
        for number in range(1, args.runs + 1):
            for name in args.datasets:
                plan = _plan(args, name, number, work, machine)
                for result in run_round(plan, tools):
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
    parser.add_argument("--timeout", type=float, default=1200, help="seconds one command may take")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/latest.jsonl"), help="JSON lines"
    )
    parser.add_argument("--append", action="store_true", help="add to the results that are there")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir(), "dataver-benchmarks"),
        help="data sets (kept) and repositories (removed)",
    )
    return parser.parse_args()


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def _find(names: list[str], machine: Machine, out: TextIO) -> dict[type[Tool], list[str]]:
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
    )


if __name__ == "__main__":
    sys.exit(main())
