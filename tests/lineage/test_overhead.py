"""What noting costs a warm fetch; slow, because it takes many processes to tell."""

import statistics

import pytest

CODE = """
import sys, time
import dataver
repo = dataver.open()
began = time.perf_counter()
repo.fetch("cats")
first = time.perf_counter() - began
repo.fetch("cats")
began = time.perf_counter()
repo.fetch("cats")
print(first, time.perf_counter() - began)
"""


@pytest.mark.slow
def test_a_warm_fetch_takes_less_than_ten_milliseconds_longer(lab) -> None:
    """The first of a process, which imports what it needs, and later ones; on and off in turn."""
    lab.environment.pop("PYTHONDONTWRITEBYTECODE", None)
    lab.run(CODE)
    more: list[tuple[float, float]] = []
    for _ in range(15):
        off, on = (
            [float(each) for each in lab.run(CODE, environment={"DATAVER_LINEAGE": mode}).split()]
            for mode in ("off", "on")
        )
        more.append((on[0] - off[0], on[1] - off[1]))
    first, later = (statistics.median(column) for column in zip(*more, strict=True))
    assert first < 0.010
    assert later < 0.002
