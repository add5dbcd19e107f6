"""How the time to make a version falls with the number of workers, by simulation up to 1,000 of them.

    python -m benchmarks.many_workers > RESULT.md

Tasks of 128 MiB wait in one queue; each worker takes the next one when it is free, and a task that fails is
done again. The driver then joins the parts, and publishes. `Costs` has the assumptions: what was measured
comes from `benchmarks.cluster` and `benchmarks.s3`, the rest is what providers state.
"""

import heapq
import math
import random
from typing import NamedTuple

MB, TB = 10**6, 10**12
TASK = 128 << 20


class Costs(NamedTuple):
    """What one step costs. Seconds and bytes a second, unless it says otherwise."""

    add: float = 216 * MB  # one process on two cores, images (measured)
    line: float = 1.25e9 / 4  # a node of 10 Gbit/s has four workers (assumed)
    store: float = 100e9  # all reads and writes of the store together (assumed; S3 scales further)
    request: float = 0.03  # a request to a store in the same region (assumed)
    requests: int = 6  # of a task: configuration, clock, pack, part (counted)
    begin: float = 0.5  # a worker imports dataver and connects (0.12 measured with a folder)
    join: float = 10.4e-6  # the driver, an entry (measured)
    publish: float = 1.0e-6  # the driver, an entry (measured, in a folder)
    spread: float = 0.3  # sigma of the logarithm of a task's time (assumed)
    failures: float = 0.01  # share of tasks that fail halfway (assumed)


def tasks_end(workers: int, tasks: int, costs: Costs, chance: random.Random) -> float:
    """Return the second in which the last task ends."""
    rate = min(costs.add, costs.line, costs.store / workers)
    usual = costs.requests * costs.request + TASK / rate
    free = [costs.begin] * workers
    for _ in range(tasks):
        took = usual * math.exp(chance.gauss(0, costs.spread))
        if chance.random() < costs.failures:
            took += took / 2  # what the attempt that failed had done
        heapq.heapreplace(free, free[0] + took)
    return max(free)


def main() -> None:
    """Print the tables."""
    costs = Costs()
    print("Assumptions: " + ", ".join(f"{name} {value:g}" for name, value in costs._asdict().items()) + ".")
    for size, file in ((TB, 70_000), (10 * TB, 10 * MB)):
        entries, tasks = size // file, math.ceil(size / TASK)
        driver = entries * (costs.join + costs.publish)
        print(f"\n{size / TB:g} TB in files of {file / MB:g} MB: {entries:,} entries, {tasks:,} tasks\n")
        print("| workers | tasks, s | driver, s | together, s | times one | efficiency |")
        print("|---:|---:|---:|---:|---:|---:|")
        alone = 0.0
        for workers in (1, 2, 10, 100, 300, 1000):
            end = tasks_end(workers, tasks, costs, random.Random(workers))
            whole = end + driver
            alone = alone or whole
            print(
                f"| {workers:,} | {end:,.0f} | {driver:,.0f} | {whole:,.0f} | {alone / whole:,.0f} "
                f"| {100 * alone / whole / workers:.0f} % |"
            )


if __name__ == "__main__":
    main()
