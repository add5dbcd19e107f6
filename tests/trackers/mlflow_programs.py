"""Random programs of MLflow runs, threads, pools, tasks and forks, with reads whose run is known.

    python mlflow_programs.py SEED COUNT OUT

Runs COUNT programs one after the other in this process, and writes to OUT in which run each file was read,
and how each run ended. A file is read once, so that one run is linked to it. None stands for the run of the
process's own.
"""

import asyncio
import json
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import mlflow

import dataver
from dataver.lineage.attribution.state import STATE
from dataver.lineage.record.recorder import flush
from dataver.reading.samples import contents

if TYPE_CHECKING:
    from collections.abc import Callable

READS = 40  # files of a program, at most
DEPTH = 4


class Scope:
    """A run of the program: its key, and the one around it."""

    def __init__(self, key: str, outer: "Scope | None", *, named: bool) -> None:
        self.key, self.outer, self.named, self.open = key, outer, named, True

    def chain(self) -> "list[Scope]":
        """Return the open runs, the innermost first."""
        found: list[Scope] = [self] if self.open else []
        return found + (self.outer.chain() if self.outer else [])


class Program:
    """One random program."""

    def __init__(self, number: int, rng: random.Random, files, expected: dict, outcomes: dict) -> None:
        self._number, self._rng, self._files = number, rng, files
        self._expected, self._outcomes = expected, outcomes
        self._read = 0
        self._lock = threading.Lock()
        self._late: list[tuple[threading.Event, threading.Thread]] = []

    def run(self) -> None:
        """Run it."""
        self.block(None, 0)
        for event, thread in self._late:
            event.set()
            thread.join()

    def block(self, scope: Scope | None, depth: int, *, mlflow_too: bool = True) -> None:
        """Do a few things in a run, or in none."""
        for _ in range(self._rng.randint(1, 4)):
            acts: list[Callable[..., None]] = [self.read, self.read, self.handle, self.sweep]
            if depth < DEPTH:
                acts += [self.named, self.thread, self.pool, self.tasks, self.fork, self.late]
                acts += [self.tracked] * 4 if mlflow_too else []
            self._rng.choice(acts)(scope, depth)

    def path(self, scope: Scope | None) -> str | None:
        """Return the next file, whose read is expected in a run."""
        with self._lock:
            if self._read == READS:
                return None
            path = f"p{self._number:03}/{self._read:02}.txt"
            self._read += 1
        open_now = scope.chain() if scope else []
        named = [each for each in open_now if each.named]
        self._expected[path] = (named or open_now or [Scope("", None, named=False)])[0].key or None
        return path

    def read(self, scope: Scope | None, depth: int) -> None:
        path = self.path(scope)
        if path:
            assert self._files.read(path) == path.encode()

    def handle(self, scope: Scope | None, depth: int) -> None:
        """Open a file here, and read it in another run."""
        path = self.path(scope)
        if path:
            with self._files.open(path) as file, dataver.run(key=f"test:other-{path}"):
                assert file.read() == path.encode()

    def sweep(self, scope: Scope | None, depth: int) -> None:
        """Begin a pass over two files here, and take the second one in another run."""
        paths = [path for path in (self.path(scope), self.path(scope)) if path]
        found = contents(self._files, [[(path, len(path)) for path in paths]])
        read = [next(found, None)]
        with dataver.run(key=f"test:pass-{self._number}-{self._rng.getrandbits(40):x}"):
            read += found
        assert [each for each in read if each] == [(path, path.encode()) for path in paths]

    def tracked(self, scope: Scope | None, depth: int) -> None:
        """Work in a run of MLflow, which fails now and then."""
        fails = self._rng.random() < 0.3
        try:
            with mlflow.start_run(nested=mlflow.active_run() is not None) as run:
                inner = Scope(f"mlflow:{run.info.run_id}", scope, named=False)
                self._outcomes[inner.key] = "failed" if fails else "finished"
                self.block(inner, depth + 1)
                if fails:
                    raise ValueError("planned")
        except ValueError:
            assert fails
        finally:
            inner.open = False
        self.read(scope, depth)

    def named(self, scope: Scope | None, depth: int) -> None:
        """Work in a run of dataver's."""
        with dataver.run("named") as run:
            inner = Scope(run.key, scope, named=True)
            self.block(inner, depth + 1)
        inner.open = False
        self.read(scope, depth)

    def thread(self, scope: Scope | None, depth: int) -> None:
        """Two threads at once, which begin runs of their own, too."""
        threads = [threading.Thread(target=self.block, args=(scope, depth + 1)) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def pool(self, scope: Scope | None, depth: int) -> None:
        """A pool that is made elsewhere and used here."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: self.block(scope, depth + 1), range(3)))

    def late(self, scope: Scope | None, depth: int) -> None:
        """A thread that reads when the runs around its start have ended."""
        event = threading.Event()

        def work() -> None:
            event.wait()
            self.read(scope, depth)

        thread = threading.Thread(target=work)
        thread.start()
        self._late.append((event, thread))

    def tasks(self, scope: Scope | None, depth: int) -> None:
        """Tasks that take turns, each in a run of its own."""

        async def work(key: str) -> None:
            with dataver.run(key=key):
                inner = Scope(key, scope, named=True)
                for _ in range(2):
                    self.read(inner, depth)
                    await asyncio.sleep(0)
                    await asyncio.to_thread(self.read, inner, depth)

        async def all_of_them(names: list[str]) -> None:
            await asyncio.gather(*(work(name) for name in names))

        asyncio.run(
            all_of_them([f"test:task-{self._number}-{self._rng.getrandbits(40):x}" for _ in range(3)])
        )

    def fork(self, scope: Scope | None, depth: int) -> None:
        """A forked child, which ends by `os._exit` as workers of data loaders do."""
        path = self.path(scope)
        if path:
            child = os.fork()
            if child == 0:
                try:
                    ok = self._files.read(path) == path.encode()
                except BaseException:  # noqa: BLE001
                    ok = False
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0


def main(seed: int, count: int, out: str) -> None:
    """Run the programs."""
    files = dataver.open().files("programs")
    expected: dict[str, str | None] = {}
    outcomes: dict[str, str] = {}
    for number in range(count):
        Program(number, random.Random(seed * 1_000 + number), files, expected, outcomes).run()
    assert flush()  # MLflow's store takes longer for all of them than an exit waits
    with open(out, "w") as file:
        json.dump({"expected": expected, "outcomes": outcomes, "own": STATE.key}, file)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
