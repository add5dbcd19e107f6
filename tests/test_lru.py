"""The LRU cache: values are kept by number and by bytes, and those used last stay."""

import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from dataver.formats.pack import FooterBuilder, memory_of
from dataver.lru import LRUCache


def test_those_used_last_stay():
    kept = LRUCache(3)
    for number in range(3):
        kept.put(number, str(number))
    assert kept.get(0) == "0"
    kept.put(3, "3")
    assert [kept.get(number) for number in range(4)] == ["0", None, "2", "3"]
    assert kept.get(9) is None and len(kept) == 3


def test_a_value_takes_the_place_of_the_key_s_earlier_one():
    """Its bytes count once, and it counts as used."""
    kept = LRUCache(2, 100, len)
    kept.put("a", b"x" * 60)
    kept.put("b", b"x" * 10)
    kept.put("a", b"y" * 60)
    kept.put("c", b"x" * 30)
    assert [kept.get(each) for each in "abc"] == [b"y" * 60, None, b"x" * 30]


def test_the_latest_stays_however_large():
    """A value above the limit is used until the next one comes."""
    kept = LRUCache(9, 100, len)
    for number in range(3):
        kept.put(number, bytes(101 + number))
        assert len(kept) == 1 and len(kept.get(number)) == 101 + number
    kept.put(9, b"small")
    assert kept.get(2) is None and kept.get(9) == b"small"


def test_what_is_dropped_makes_room():
    """One key, an unknown key, or all."""
    kept = LRUCache(9, 100, len)
    for key in "ab":
        kept.put(key, bytes(50))
    kept.drop("a")
    kept.drop("none")
    kept.put("c", bytes(50))
    assert [kept.get(each) is None for each in "abc"] == [True, False, False]
    kept.clear()
    assert len(kept) == 0 and kept.get("c") is None
    for number in range(9):
        kept.put(number, bytes(11))
    assert len(kept) == 9


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60))), st.integers(1, 6), st.integers(1, 100))
def test_it_is_a_list_in_the_order_of_use(steps, count, size):
    """Against a plain list: puts of so many bytes, and gets where the bytes are 0."""
    kept, model = LRUCache(count, size, len), []
    for key, length in steps:
        found = next((each for each in model if each[0] == key), None)
        if not length:
            assert kept.get(key) == (found and found[1])
            if found:
                model.append(model.pop(model.index(found)))
            continue
        kept.put(key, bytes(length))
        model = [each for each in model if each[0] != key] + [(key, bytes(length))]
        while len(model) > count or (len(model) > 1 and sum(len(value) for _, value in model) > size):
            del model[0]
    assert len(kept) == len(model)
    assert all(kept.get(key) == value for key, value in model)


def test_threads_share_it():
    """Every value found is the key's own, and the limit holds in the end."""
    kept, wrong = LRUCache(8, 1000, len), []

    def use(seed):
        chance = random.Random(seed)
        for _ in range(2000):
            key = chance.randrange(20)
            found = kept.get(key)
            if found is None:
                kept.put(key, bytes([key]) * (100 + key))
            elif found != bytes([key]) * (100 + key):
                wrong.append(key)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < len(kept) <= 8


def test_a_footer_s_memory_grows_with_its_tables():
    """More than its bytes, less than a few times of them."""
    builder = FooterBuilder()
    for number in range(100):
        builder.add_frame(1, 100, 800, [100] * 8, bytes([number]) * (8 * 32))
    footer = builder.footer()
    assert len(footer.raw) < memory_of(footer) < 3 * len(footer.raw)
