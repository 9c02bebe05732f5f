"""Limits of memory: their words, and what they allow."""

from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.memory_limit import (
    SMALLEST_LIMIT_BYTES,
    bytes_for_pieces,
    check_memory_limit,
    parse_memory,
    pieces_at_once,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", 4e9),
        ("4GB", 4e9),
        (" 2.5 gb ", 2.5e9),
        ("2500MB", 2.5e9),
        ("4GiB", 4 * 2**30),
        ("3G", 3e9),
        ("2560 MiB", 2560 * 2**20),
    ],
)
def test_amounts_of_memory_are_understood(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "four", "4 apples", "-4GB", "1e400", "nan", "٤GB"])
def test_other_words_are_refused(text):
    with pytest.raises(InvalidValueError, match="not an amount of memory"):
        parse_memory(text)


@pytest.mark.parametrize("text", ["0", "0.3", "900MB", "2200MB"])
def test_a_limit_below_the_program_and_a_network_is_refused(text):
    with pytest.raises(InvalidValueError, match=r"Allow at least 2\.3 GB"):
        parse_memory(text)


limits = st.integers(SMALLEST_LIMIT_BYTES, 2**40)


@settings(deadline=None)
@given(limits, st.floats(1, 1e12), st.integers(1, 256))
def test_pieces_at_once_fit_the_limit_and_are_never_none(limit, each, most):
    pieces = pieces_at_once(limit, each, most)
    assert 1 <= pieces <= most
    assert pieces == 1 or pieces * each <= bytes_for_pieces(limit)


@settings(deadline=None)
@given(limits, limits)
def test_more_memory_never_means_fewer_pieces(one, other):
    low, high = sorted((check_memory_limit(one), check_memory_limit(other)))
    with patch("psutil.virtual_memory", lambda: SimpleNamespace(available=3e9)):
        assert pieces_at_once(low, 1e8, 64) <= pieces_at_once(high, 1e8, 64) <= 24
