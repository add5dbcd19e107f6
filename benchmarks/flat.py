"""Is memory flat: `python -m benchmarks.flat` adds, fetches and verifies 1 GB and 10 GB.

Only dataver takes part. Peak memory is that of all processes together; the results go into the same files
as all others, as the data sets `flat-1` and `flat-10`. Up to four times the larger size is needed on disk
while it runs: the file, the repository, the cache and the fetched file.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.data import make
from benchmarks.machine import machine_facts
from benchmarks.report import markdown
from benchmarks.results import read_results, write_result
from benchmarks.rounds import Round, run_round
from benchmarks.tools.dataver import Dataver

_OPERATIONS = frozenset({"fetch-v1", "verify"})


def main() -> int:
    """Measure both sizes; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=main.__doc__)
    parser.add_argument("--sizes", default="1,10", help="GB, separated by commas")
    parser.add_argument("--runs", type=int, default=1, help="rounds; the tables give medians")
    parser.add_argument("--timeout", type=float, default=600, help="seconds one command may take")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/latest.jsonl"), help="JSON lines, appended to"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "dataver-benchmarks"), help="as ever"
    )
    args = parser.parse_args()
    work, program = args.work.absolute(), Dataver.find()
    if program is None:
        parser.error("dataver is not installed")
    work.mkdir(parents=True, exist_ok=True)
    machine, failures = machine_facts(work), 0
    with args.out.open("a") as out:
        for size in map(float, args.sizes.split(",")):
            for number in range(1, args.runs + 1):
                with tempfile.TemporaryDirectory(prefix="flat-", dir=work) as scratch:
                    words = [sys.executable, "-m", "benchmarks.data", "flat", scratch, str(size)]
                    subprocess.run(words, check=True)
                    plan = Round(
                        number=number,
                        dataset=f"flat-{size:g}",
                        scale=size,
                        versions=make("flat", Path(scratch), size),
                        operations=_OPERATIONS,
                        timeout=args.timeout,
                        work=Path(scratch, "round"),
                        machine=machine,
                        link=True,
                    )
                    for result in run_round(plan, {Dataver: program}):
                        failures += result.error is not None
                        write_result(out, result)
    print(markdown(read_results([args.out])))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
