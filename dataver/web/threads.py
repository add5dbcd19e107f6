"""Threads of requests that read from the repository; while its store does not answer, they hold few of them.

A request that takes longer than `PATIENCE` is answered with an error, and its thread ends when the store
answers. Until then it counts as one of the `SAME` requests of its address, and of the `most` of all
addresses, that have a thread. So others are answered, however often a page that hangs is loaded again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread

from dataver.errors import StoreError

__all__ = ["PATIENCE", "SAME", "Threads"]

PATIENCE: Final = 60.0
"""Seconds that a request has."""

SAME: Final = 8
"""Requests of one address that have threads at once."""

_T = TypeVar("_T")


class Threads:
    """Threads for at most `most` requests; further ones wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = Counter[str]()
        self._late = Counter[str]()  # those of them that have had their error
        self._ended = asyncio.Event()

    async def run(self, address: str, answer: Callable[[], _T]) -> _T:
        """Return what a function returns that runs on a thread.

        Raises:
            StoreError: it takes too long, or as many requests hang as may do so.
        """
        if self._late[address] >= SAME or self._late.total() >= self._most:
            raise StoreError(f"the repository has not answered earlier requests for {PATIENCE:.0f} s.")
        limit = asyncio.timeout(PATIENCE)
        try:
            async with limit:
                while self._running[address] >= SAME or self._running.total() >= self._most:
                    await self._ended.wait()
                return await self._run(address, answer)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StoreError(f"the repository has not answered for {PATIENCE:.0f} s.") from error

    async def _run(self, address: str, answer: Callable[[], _T]) -> _T:
        loop, one, late, ended = asyncio.get_running_loop(), Counter([address]), Counter[str](), False

        def end() -> None:
            nonlocal ended
            ended = True
            self._running -= one
            self._late -= late
            self._ended.set()
            self._ended = asyncio.Event()

        def run() -> _T:
            try:
                return answer()
            finally:
                with suppress(RuntimeError):  # the server has ended
                    loop.call_soon_threadsafe(end)

        self._running += one
        try:
            # a limiter of its own: a shared one would not count a thread that is abandoned
            return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=CapacityLimiter(1))
        except asyncio.CancelledError:
            if not ended:
                late.update(one)
                self._late.update(one)
            raise
