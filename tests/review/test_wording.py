"""The evidence of a case in words."""

from __future__ import annotations

import pytest

from particleseg_app.review.wording import in_words


@pytest.mark.parametrize(
    ("figure", "kind", "nothing"),
    [
        ("neck_grey_dip", "merger", "nothing dark lies across the neck"),
        ("contact_grey_dip", "splitter", "nothing dark lies between them"),
    ],
)
def test_a_neck_or_contact_is_never_darker_by_less_than_nothing(figure, kind, nothing):
    for dip in (-0.43, 0.0, 0.02):
        assert nothing in in_words(kind, {figure: dip}, {figure: 1.0})
    assert "darker by 30\u00a0% of the contrast" in in_words(kind, {figure: 0.3}, {figure: 1.0})
