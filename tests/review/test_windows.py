"""Windows for the second look."""

from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.review.windows import LONGEST_EDGE, MARGIN, plan_windows
from particleseg_app.units import Box

SHAPE = (150, 400, 200)


def box_strategy():
    def place(parts):
        start = tuple(int(f * (n - 1)) for (f, _), n in zip(parts, SHAPE, strict=True))
        stop = tuple(
            min(n, a + 1 + edge) for (_, edge), a, n in zip(parts, start, SHAPE, strict=True)
        )
        return Box(start, stop)

    return st.tuples(*[st.tuples(st.floats(0, 1), st.integers(1, 350))] * 3).map(place)


@settings(max_examples=60, deadline=None)
@given(st.lists(box_strategy(), max_size=25), st.sampled_from([32, 96]))
def test_every_item_that_fits_lies_in_exactly_one_window_with_its_margin(items, edge):
    windows = plan_windows(items, SHAPE, edge)
    counts = [0] * len(items)
    for window in windows:
        assert window.box.intersection(Box.whole(SHAPE)) == window.box
        for number in window.items:
            counts[number] += 1
            wanted = items[number].expanded(MARGIN, SHAPE)
            assert wanted.intersection(window.box) == wanted
        longest = max(max(items[n].expanded(MARGIN, SHAPE).shape) for n in window.items)
        assert max(window.box.shape) <= max(edge, longest)
    for count, item in zip(counts, items, strict=True):
        fits = max(item.expanded(MARGIN, SHAPE).shape) <= LONGEST_EDGE
        assert count == int(fits)


def test_neighbours_share_a_window():
    near = [Box((20, 20, 20), (40, 40, 40)), Box((40, 30, 20), (60, 50, 40))]
    assert len(plan_windows(near, SHAPE, 96)) == 1
    assert len(plan_windows([*near, Box((20, 300, 20), (40, 320, 40))], SHAPE, 96)) == 2
