"""Items in portions of a bounded size and number."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dataver.portions import portions


@given(st.lists(st.integers(0, 9)), st.integers(1, 20), st.integers(1, 5))
def test_portions_have_all_items_in_order_within_both_bounds(
    sizes: list[int], most: int, number: int
) -> None:
    """None is empty or could take the first item of the next one, and a larger item is alone."""
    found = list(portions(sizes, most, lambda size: size, number))
    assert [size for portion in found for size in portion] == sizes
    for portion in found:
        assert 1 <= len(portion) <= number
        assert sum(portion) <= most or len(portion) == 1
    for portion, following in pairwise(found):
        assert len(portion) == number or sum(portion) + following[0] > most
