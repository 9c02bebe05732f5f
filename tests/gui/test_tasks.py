"""Engine work in the background: outcomes, cancelling, and the strip that shows it."""

from __future__ import annotations

import threading
import time

import pytest
from pytestqt.qtbot import QtBot

from particleseg_app.errors import RunError
from particleseg_app.gui.tasks import JobQueue, ProgressPanel, Task, running_tasks
from particleseg_app.gui.tasks.progress_panel import describe_count, describe_times
from particleseg_app.progress import CancelToken, Progress, ProgressSnapshot


def endless(progress: Progress, cancel: CancelToken) -> None:
    progress.start("Segmenting", 120, "tile")
    for _ in range(10_000):
        cancel.check()
        time.sleep(0.01)


def test_a_task_hands_back_the_result_on_the_windows_thread(qtbot: QtBot) -> None:
    seen: list[tuple[int, int]] = []
    task = Task("Count", lambda progress, cancel: threading.get_ident())
    task.finished.connect(lambda result: seen.append((result, threading.get_ident())))
    with qtbot.waitSignal(task.ended):
        task.start()
    worker, window = seen[0]
    assert worker != window == threading.get_ident()
    assert not running_tasks()


def test_a_failed_task_hands_on_the_error(qtbot: QtBot) -> None:
    def fail(progress: Progress, cancel: CancelToken) -> None:
        raise RunError("The disk is full.", "Free 3 GB.")

    task = Task("Fail", fail)
    finished: list[object] = []
    task.finished.connect(finished.append)
    with qtbot.waitSignal(task.failed) as signal:
        task.start()
    assert isinstance(signal.args[0], RunError)
    assert not finished


def test_cancelling_ends_as_cancelled(qtbot: QtBot) -> None:
    task = Task("Wait", endless)
    with qtbot.waitSignal(task.progressed, check_params_cb=lambda s: s.total == 120):
        task.start()
    with qtbot.waitSignal(task.cancelled):
        task.cancel()
    assert not task.running


def test_the_queue_works_one_after_the_other(qtbot: QtBot) -> None:
    order: list[str] = []
    at_once: list[int] = []
    queue = JobQueue()

    def job(name: str) -> Task:
        def work(progress: Progress, cancel: CancelToken) -> None:
            at_once.append(len(running_tasks()))
            order.append(name)

        return Task(name, work)

    with qtbot.waitSignal(queue.idle):
        for name in "abc":
            queue.add(job(name))
    assert order == ["a", "b", "c"]
    assert at_once == [1, 1, 1]


def test_a_waiting_job_can_be_withdrawn(qtbot: QtBot) -> None:
    queue = JobQueue()
    first, second = Task("first", endless), Task("second", endless)
    queue.add(first)
    queue.add(second)
    assert queue.withdraw(second)
    assert queue.waiting == ()
    with qtbot.waitSignal(queue.idle):
        queue.withdraw(first)


def test_the_panel_shows_the_work_and_answers_cancel_at_once(qtbot: QtBot) -> None:
    panel = ProgressPanel()
    qtbot.addWidget(panel)
    task = Task("Segmenting ore", endless)
    panel.show_task(task)
    task.start()
    qtbot.waitUntil(lambda: panel._detail.text() == "Tile 0 of 120")
    assert panel.isVisible()
    panel.cancel_button.click()
    assert panel.cancel_button.text() == "Stopping…"
    assert not panel.cancel_button.isEnabled()
    qtbot.waitUntil(lambda: not panel.isVisible())


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [(34, 120, "tiles", "Tile 34 of 120"), (0, 0, "", ""), (3, 9, "", "3 of 9")],
)
def test_counts_in_words(done: int, total: int, unit: str, text: str) -> None:
    assert describe_count(ProgressSnapshot("s", done, total, unit, 5, 5, None, ())) == text


def test_remaining_time_is_not_guessed_in_the_first_seconds() -> None:
    early = ProgressSnapshot("s", 1, 100, "tile", 0.5, 30, 49.5, ())
    later = ProgressSnapshot("s", 50, 100, "tile", 60, 90, 60, ())
    assert "left" not in describe_times(early)
    assert describe_times(later) == "1 min 30 s elapsed  ·  about 1 min left in this step"


def test_the_time_of_the_whole_work_is_said_where_it_is_known_and_can_be_true(
    qtbot: QtBot,
) -> None:
    begun = ProgressSnapshot("s", 0, 0, "", 12, 12, None, ())
    later = ProgressSnapshot("s", 50, 100, "tile", 60, 90, 60, ())
    over = ProgressSnapshot("s", 0, 0, "", 12, 200, None, ())
    assert describe_times(begun, 180.0) == "12 s of about 3 min"
    assert describe_times(later, 180.0) == "1 min 30 s of about 3 min  ·  " + (
        "about 1 min left in this step"
    )
    assert describe_times(over, 180.0) == "3 min 20 s elapsed"
    panel = ProgressPanel()
    qtbot.addWidget(panel)
    task = Task("Segmenting ore", endless, expected_s=180.0)
    panel.show_task(task)
    panel.show_snapshot(begun)
    assert panel._times.text() == "12 s of about 3 min"
    panel.show_task(Task("Another", endless))
    panel.show_snapshot(begun)
    assert panel._times.text() == "12 s elapsed"
