"""Full profile of a CSV beside DuckDB's count over all of its columns: time, CPU time and peak memory.

    python -m benchmarks.tables [--size 500] [--runs 5] [--memory 1024]

Each run is a process: `SELECT count(COLUMNS(*)) FROM read_csv(…)` with DuckDB's own settings, and a full
profile of the same file (`dataver.profiles`). Rounds alternate between the two, and ratios are of paired
runs, since a loaded machine slows both. DuckDB makes the table: integers, floats, a label, hashes, texts,
times, truth values.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_TABLE = """
COPY (
    SELECT range AS id, (hash(range) % 1000)::INT AS small,
        round(hash(range, 1) % 10000000000 / 1e4, 4) AS price,
        round(ln((hash(range, 2) % 1000000 + 1) / 1e6), 6) AS skew,
        CASE WHEN hash(range, 3) % 20 > 0 THEN 'cat' || hash(range, 4) % 20 END AS label,
        md5(range::VARCHAR) AS hash, 'the quick brown ' || repeat('x', (hash(range, 5) % 20)::INT) AS txt,
        TIMESTAMP '2020-01-01' + INTERVAL (range) SECOND AS ts, hash(range, 6) % 10 < 3 AS flag
    FROM range({rows})
) TO '{path}'
"""
_BYTES = 124  # a row
_MEASURE = """
import resource, sys, time
began, cpu = time.perf_counter(), time.process_time()
{code}
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.perf_counter() - began, time.process_time() - cpu, used * 1024)
"""
_COUNT = """
import duckdb
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
db.execute(f"SELECT count(COLUMNS(*)) FROM read_csv('{sys.argv[1]}')").fetchall()
"""
_PROFILE = """
from pathlib import Path
from dataver import tables
from dataver.profiles.kinds import kind_of, make_profile
tables.MEMORY = int(sys.argv[2]) << 20
tables.connect.__wrapped__.__kwdefaults__["memory"] = tables.MEMORY
class File:
    sampled, path = True, lambda self: Path(sys.argv[1])
    name, size = sys.argv[1], Path(sys.argv[1]).stat().st_size
    open = lambda self: open(sys.argv[1], "rb")
found = make_profile(kind_of(sys.argv[1]), File(), full=True)
assert found["rows"] and len(found["statistics"]["statistics"]) == 9, found
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=500, help="MB of the CSV")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", type=int, default=1024, help="MiB that DuckDB may take in a profile")
    args = parser.parse_args()
    import duckdb

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "t.csv"
        duckdb.execute(_TABLE.format(rows=args.size * 1_000_000 // _BYTES, path=path))
        print(f"{path.stat().st_size / 1e6:.0f} MB, {args.runs} runs", flush=True)
        rounds = [[_run(code, path, args.memory) for code in (_COUNT, _PROFILE)] for _ in range(args.runs)]
    print("| | wall s | CPU s | peak memory MB |\n|---|--:|--:|--:|")
    for number, name in enumerate(("count of all columns", "full profile")):
        wall, cpu, memory = (statistics.median(each[number][part] for each in rounds) for part in range(3))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {memory / 1e6:.0f} |")
    ratios = [[each[1][part] / each[0][part] for each in rounds] for part in range(2)]
    shown = (f"{statistics.median(some):.2f} ({min(some):.2f}-{max(some):.2f})" for some in ratios)
    print(f"| ratio of paired runs | {' | '.join(shown)} | |")


def _run(code: str, path: Path, memory: int) -> list[float]:
    argv = [sys.executable, "-c", _MEASURE.replace("{code}", code), str(path), str(memory)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(f"[{','.join(done.stdout.split())}]")
    return found


if __name__ == "__main__":
    main()
