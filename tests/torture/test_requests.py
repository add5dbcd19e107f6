"""Every command with every request that it sends answered in every wrong way: right, or an error of ours.

What must hold after each is in `commands.py`. An answer is wrong once, or for as long as the command asks for
the same. The repositories are in memory; `test_network.py` breaks requests to a server.

DATAVER_TORTURE=full tries every request; else some of each command.
"""

import time
from collections import Counter

import pytest

from dataver.testing.lying import Answer, LyingStore, can_get

from .commands import CASES, NAMES, InMemory, World, ends_of, own_folder, prepare, tried
from .conftest import FULL, write_line

REQUESTS = 2  # of each command and answer, where not all are tried


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The two repositories."""
    root = tmp_path_factory.mktemp("requests")
    with own_folder(root):
        yield World(root, {name: InMemory(name) for name in NAMES})


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_answer_to_any_request(world, name):
    """The command is right or raises our error; nothing is lost; repeated, it is right."""
    began, case, wrong = time.perf_counter(), CASES[name], []
    working = LyingStore(world.places[case.lies].store, 0, Answer.LOST)
    ends = ends_of(world, case, working)
    requests = [request.method for request in working.requests]
    counts = Counter()
    for lie in Answer:
        possible = [each for each, method in enumerate(requests, 1) if can_get(method, lie)]
        for number in sample(possible):
            for stays in (False, True) if FULL else (number % 2 == 0,):
                prepare(world, case)
                store = LyingStore(world.places[case.lies].store, number, lie, stays=stays)
                counts["tried"] += 1
                try:
                    # an empty listing in the form of one is that of an empty repository
                    ended = tried(world, case, store, ends, blind=lie is Answer.NOTHING)
                    counts["right" if ended else "refused"] += 1
                except (AssertionError, Exception) as error:  # noqa: BLE001  # what this looks for
                    what = f"request {number}, {lie.name}{' from then on' if stays else ''}"
                    asked = store.requests[number - 1][:2] if len(store.requests) >= number else ""
                    wrong.append(f"{what} {asked}: {type(error).__name__}: {str(error)[:300]}")
                counts["met"] += store.met
    figures = (counts[each] for each in ("tried", "met", "right", "refused"))
    write_line(name, len(requests), *figures, len(wrong), f"{time.perf_counter() - began:.0f}")
    assert not wrong, f"{len(wrong)} of {counts['tried']}:\n" + "\n".join(wrong[:20])


def sample(numbers):
    """Return the numbers of requests that are tried."""
    if FULL or len(numbers) <= REQUESTS:
        return numbers
    return sorted({numbers[at * (len(numbers) - 1) // (REQUESTS - 1)] for at in range(REQUESTS)})
