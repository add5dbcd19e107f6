"""One result: a JSON line that stands on its own."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from benchmarks.machine import Machine

__all__ = ["Result", "finished_rounds", "keep_finished", "read_results", "write_result"]


@dataclass
class Result:
    """What one tool used for one operation, once; the columns are explained in README.md.

    A tool that is not here has one line with `missing`, an operation that failed has `error`, one that was
    stopped has `stopped_s`, one that the tool does not have is `lacking`. `run` counts the rounds of a data
    set from 1; 0 is the untimed round that counts requests. `done` ends a round.
    """

    tool: str
    version: str | None = None
    dataset: str | None = None
    scale: float | None = None
    operation: str | None = None
    run: int | None = None
    started: str | None = None
    load: float | None = None
    wall_s: float | None = None
    user_s: float | None = None
    sys_s: float | None = None
    rss_largest: int | None = None
    rss_tree: int | None = None
    source_bytes: int | None = None
    source_files: int | None = None
    stored_bytes: int | None = None
    stored_on_disk: int | None = None
    stored_objects: int | None = None
    requests: int | None = None
    identical: bool | None = None
    error: str | None = None
    stopped_s: float | None = None
    lacking: bool | None = None
    done: bool | None = None
    missing: str | None = None
    machine: Machine | None = field(default=None, repr=False)

    @property
    def cpu_s(self) -> float | None:
        """User and system time together."""
        return None if self.user_s is None or self.sys_s is None else self.user_s + self.sys_s


def write_result(out: TextIO, result: Result) -> None:
    """Append one line, without the fields that say nothing, and make it visible at once."""
    fields = {name: value for name, value in asdict(result).items() if value is not None}
    out.write(json.dumps(fields) + "\n")
    out.flush()


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Return the results of files, in their order."""
    return [Result(**json.loads(line)) for path in paths for line in path.read_text().splitlines() if line]


def finished_rounds(results: Iterable[Result]) -> set[tuple[str | None, int | None]]:
    """Return which rounds, a data set and a run each, were done to the end."""
    return {(row.dataset, row.run) for row in results if row.done}


def keep_finished(path: Path) -> set[tuple[str | None, int | None]]:
    """Take the rounds that were cut out of a file of results, and return those that are left."""
    results = read_results([path]) if path.exists() else []
    finished = finished_rounds(results)
    with path.open("w") as out:
        for row in results:
            if row.missing or (row.dataset, row.run) in finished:
                write_result(out, row)
    return finished
