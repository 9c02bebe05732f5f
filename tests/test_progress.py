"""What long work says of itself, and how it is ended."""

import threading

import pytest

from particleseg_app import progress as progress_module
from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_remaining_time_counts_only_what_this_attempt_did(clock):
    progress = Progress()
    progress.start("Predicting", total=100, unit="tiles", done=60)
    assert progress.snapshot().remaining_s is None
    clock.now += 10
    progress.advance(20)
    snapshot = progress.snapshot()
    assert (snapshot.done, snapshot.fraction) == (80, 0.8)
    assert snapshot.remaining_s == pytest.approx(10)


def test_a_stage_of_unknown_length_has_no_share():
    progress = Progress()
    progress.start("Loading the model")
    assert progress.snapshot().fraction is None


def test_remarks_are_kept_over_stages():
    progress = Progress()
    progress.note("first")
    progress.start("next")
    progress.note("second")
    assert progress.snapshot().messages == ("first", "second")


def test_several_threads_may_advance():
    progress = Progress()
    progress.start("Working", total=4000)
    threads = [
        threading.Thread(target=lambda: [progress.advance() for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.snapshot().done == 4000


def test_a_set_token_raises_where_it_is_asked():
    cancel = CancelToken()
    cancel.check()
    cancel.cancel()
    assert cancel.cancelled
    with pytest.raises(Cancelled):
        cancel.check()
