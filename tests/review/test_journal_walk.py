"""Random walks of mends, undo, redo and restarts, compared with plain arrays at every step."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.mended_labels import MendedLabels, open_mended_labels
from particleseg_app.units import Box
from tests.review.label_models import PlainJournal, random_change, random_labels, write_labels

SHAPE = (70, 40, 90)
STEPS = ["mend", "undo", "redo", "revert", "restart"]
CHANCES = [0.4, 0.34, 0.2, 0.02, 0.04]


def walk(folder: Path, seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    start = random_labels(seed, SHAPE, 12)
    whole = Box.whole(SHAPE)
    plain = PlainJournal(start)
    base = write_labels(folder / "labels.h5", start)
    path = folder / "review.sqlite"
    journal = ReviewJournal.open(path, base)
    labels = MendedLabels(base, journal)
    used = int(start.max())
    for _ in range(steps):
        step = rng.choice(STEPS, p=CHANCES)
        if step == "mend":
            assert journal.next_label() > used
            change = random_change(rng, plain.now, journal.next_label())
            used = max(used, int(change.after.max()))
            if change.changes_anything:
                journal.append(change, "paint", "a mend")
                plain.append(change)
            else:
                try:
                    journal.append(change, "paint", "nothing")
                    raise AssertionError("a mend that changes nothing was taken")
                except InvalidValueError:
                    pass
        elif step == "undo":
            assert (journal.undo() is not None) == plain.undo()
        elif step == "redo":
            assert (journal.redo() is not None) == plain.redo()
        elif step == "revert":
            if journal.revert() is not None:
                plain.push(start.copy())
            else:
                np.testing.assert_array_equal(plain.now, start)
        else:
            journal.close()
            journal = ReviewJournal.open(path, base)
            labels = MendedLabels(base, journal)
        axis = int(rng.integers(3))
        index = int(rng.integers(SHAPE[axis]))
        np.testing.assert_array_equal(
            labels.read_slice(axis, index), plain.now.take(index, axis=axis)
        )
        np.testing.assert_array_equal(labels.read(whole), plain.now)
        assert journal.can_undo == bool(plain.at)
        assert journal.can_redo == (plain.at + 1 < len(plain.states))
        assert plain.now.max() <= labels.count
    if path.exists():
        with open_mended_labels(base.path, path) as seen:
            np.testing.assert_array_equal(seen.read(whole), plain.now)
    while journal.undo() is not None:
        assert plain.undo()
    assert not plain.undo()
    np.testing.assert_array_equal(labels.read(whole), start)
    assert len(journal.present.overlay) == 0
    assert journal.mend_count == 0
    assert labels.count == base.count
    labels.close()


@pytest.mark.usefixtures("unflushed")
def test_a_thousand_steps_end_where_they_began(tmp_path: Path) -> None:
    walk(tmp_path, 20261121, 1000)


@pytest.mark.usefixtures("unflushed")
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 40))
def test_any_walk_ends_where_it_began(seed: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        walk(Path(folder), seed, steps)
