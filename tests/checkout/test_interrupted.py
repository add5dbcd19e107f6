"""Ctrl-C anywhere in a fetch: it comes through, nothing stays open or locked, and the next fetch is whole."""

import _weakrefset  # what keeps track of threads; the interpreter discards what its callbacks raise
import contextlib
import inspect
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Self

import pytest

from dataver.cache.eviction import remove
from dataver.cache.version_cache import VersionCache
from dataver.tree import Selection

from .conftest import contents, write

BOOKKEEPING = {inspect.getfile(module) for module in (contextlib, threading, weakref, _weakrefset)}
LETTING_GO = {"__exit__", "close", "release"}
STEP = 13  # every so many calls; a fetch of these makes 500 to 4,000


class CtrlC:
    """Raises `KeyboardInterrupt` where the Nth function is called, as the interpreter does for a signal.

    Not between the making of a thing and its registration inside of the standard library, nor while things
    are let go: nobody could do anything about these. Nor in generators: dropping one looks like a call.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self.pressed = False

    def __call__(self, frame, event, _argument) -> None:
        if event != "call" or frame.f_code.co_flags & inspect.CO_GENERATOR:
            return
        if frame.f_code.co_filename in BOOKKEEPING or _letting_go(frame):
            return
        self._left -= 1
        if self._left < 0:
            sys.setprofile(None)
            self.pressed = True
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def _letting_go(frame) -> bool:
    while frame is not None:
        if frame.f_code.co_name in LETTING_GO:
            return True
        frame = frame.f_back
    return False


def _open_below(root: Path) -> list[str]:
    """Return what this process has open in a folder."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return sorted(path for path in found if path.startswith(f"{root}/"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fresh", "beside a relative", "own copy", "into an own copy"])
def test_ctrl_c_anywhere_leaves_nothing_open_and_the_next_fetch_is_whole(world, kind) -> None:
    """The press falls at one call after another; each time the same process fetches again."""
    for number in range(5):
        write(world.source / "a" / f"{number}.txt", f"{number}" * 100)
    version = world.version()
    cache = VersionCache(world.root / "warm")
    if kind == "beside a relative":
        world.fetch(version, cache=cache)
    held, pressed = _open_below(world.root), 0
    while True:
        place = world.root / f"{kind} {pressed}"
        options = {"cache": cache, "patterns": ["a/**", "a/" + "*" * (pressed + 1)]}
        if kind == "fresh":
            options = {"cache": VersionCache(place)}
        elif kind != "beside a relative":
            options = {"cache": cache, "dest": place}
        if kind == "into an own copy":
            write(place / "a" / "0.txt", "0" * 100)
        with CtrlC(pressed * STEP) as key:
            try:
                world.fetch(version, **options)
            except KeyboardInterrupt:
                assert key.pressed
            else:
                assert not key.pressed, "the interrupt was swallowed"
                break
        path = world.fetch(version, **options).path
        assert contents(path) == contents(world.source)
        if "dest" not in options:
            options["cache"].done(path.name)
        if kind == "beside a relative":  # it can be removed: no lease of the interrupted fetch is left
            assert remove(
                cache, cache.lookup(version.tree.digest, Selection.of(version.tree, options["patterns"]))
            )
        assert _open_below(world.root) == held
        pressed += 1
    assert pressed > 20
