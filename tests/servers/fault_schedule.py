"""Which requests a `FaultyNetwork` breaks: at random, but the same for the same seed and the same requests.

One idea: threads send requests in any order, so chance hangs on the request (method, path, range, and how
often it came), not on its place in the row. However high the chances, no request is broken more than
`in_a_row` times running: what is tested is that whoever repeats gets there, not luck.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping

from .proxy import Break, Seen

__all__ = ["FaultSchedule"]

_SENDING = frozenset({Break.CUT_SENT, Break.FLIP_SENT})
_READING = frozenset({Break.CUT_BODY, Break.SHORT_BODY, Break.FLIP})


class FaultSchedule:
    """A rule for a `FaultyNetwork`.

    Flipped bits and short bodies happen to objects, not to listings: nothing in S3's protocol covers those
    but TLS, which is not spoken here.

    Args:
        chances: how probable each break is for a request that it can happen to; the first of these it
            happens to for certain, so that no run meets none.
        seed: of the dice.
        in_a_row: how often one request is broken at most before it passes.
        burst: how many requests, of whomever, a 500 or a 503 hits together.
    """

    def __init__(
        self, chances: Mapping[Break, float], *, seed: int = 1, in_a_row: int = 2, burst: int = 1
    ) -> None:
        self._chances = dict(chances)
        self._seed = seed
        self._in_a_row = in_a_row
        self._burst = burst
        self._came: Counter[tuple[str, str, str]] = Counter()
        self._running: Counter[tuple[str, str, str]] = Counter()
        self._met: set[Break] = set()
        self._storm: tuple[Break, int] | None = None
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> Break | None:
        """Say what happens to a request."""
        name = seen.method, seen.path, seen.headers.get("Range", "")
        with self._lock:
            self._came[name] += 1
            what = self._choose(seen, name) if self._running[name] < self._in_a_row else None
            self._running[name] = self._running[name] + 1 if what is not None else 0
            return what

    def _choose(self, seen: Seen, name: tuple[str, str, str]) -> Break | None:
        if self._storm is not None:
            what, left = self._storm
            self._storm = (what, left - 1) if left > 1 else None
            return what
        dice = random.Random(f"{self._seed} {name} {self._came[name]}").random()
        for what, chance in self._chances.items():
            if not _can_happen(what, seen):
                continue
            if dice < chance or what not in self._met:
                self._met.add(what)
                if self._burst > 1 and what in (Break.INTERNAL, Break.SLOW_DOWN):
                    self._storm = what, self._burst - 1
                return what
            dice -= chance
        return None


def _can_happen(what: Break, seen: Seen) -> bool:
    if what in _SENDING:
        return seen.method == "PUT" and int(seen.headers.get("Content-Length") or 0) > 0
    if what in _READING:
        return seen.method == "GET" and "list-type=" not in seen.path
    return True
