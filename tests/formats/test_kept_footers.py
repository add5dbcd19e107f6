"""Footers are kept by number and by bytes, and those asked for last stay."""

import os
import random

from dataver.formats.kept_footers import KeptFooters
from dataver.formats.pack import FooterBuilder


def footer(chunks):
    """Return the footer of a pack of so many chunks, eight a frame."""
    builder = FooterBuilder()
    for _ in range(chunks // 8):
        builder.add_frame(1, 100, 800, [100] * 8, os.urandom(8 * 32))
    return builder.footer()


def test_those_asked_for_last_stay():
    kept, made = KeptFooters(3, 1 << 30), [footer(8) for _ in range(4)]
    for number in range(3):
        kept.put(number, made[number])
    assert kept.get(0) is made[0]
    kept.put(3, made[3])
    assert [kept.get(number) is made[number] for number in range(4)] == [True, False, True, True]
    assert kept.get(9) is None and len(kept) == 3


def test_large_ones_are_fewer():
    """Whatever their sizes, what is kept fits, but for the last two."""
    size, chance = 100_000, random.Random(4)
    kept, made, most = KeptFooters(64, size), {}, 0
    for _ in range(300):
        key = chance.randrange(40)
        made[key] = footer(8 * chance.choice((1, 10, 100, 400)))
        kept.put(key, made[key])
        assert kept.get(key) is made[key]
        most = max(most, len(kept))
        held = [each for name, each in made.items() if kept.get(name) is each]
        assert len(held) == len(kept)
        assert len(kept) <= 2 or sum(len(each.raw) for each in held) <= size
    assert most > 2
    for key in range(100, 105):
        made[key] = footer(8 * 500)  # two of them are too much
        kept.put(key, made[key])
    assert len(kept) == 2
    kept.clear()
    assert len(kept) == 0 and kept.get(104) is None
    for key in range(10):
        kept.put(key, footer(8))
    assert len(kept) == 10
