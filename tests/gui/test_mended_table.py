"""The table after mends: measured in the background, of the run that is shown."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from pytestqt.qtbot import QtBot

from particleseg_app.gui.mended_table import MendedTable


class Measured:
    """Stands for the review of a run; its tables name the labels measured, `go` lets it measure."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def table_after(self, table: str, labels: frozenset[int], *_: object) -> str:
        assert self.go.wait(20)
        return f"{table} {sorted(labels)}"

    def read_phases(self) -> None:
        pass

    def table(self, *_: object) -> str:
        return "phases"


class Results:
    """What is shown, and the tables that come in."""

    def __init__(self) -> None:
        self.shown: Any = None
        self.tables: list[tuple[Measured, str]] = []
        self.updates = MendedTable(lambda: self.shown)
        self.updates.measured.connect(self._take)

    def show(self) -> Measured:
        review = Measured()
        self.shown = SimpleNamespace(review=review, table="", scan=None)
        return review

    def _take(self, review: Measured, table: str) -> None:
        self.tables.append((review, table))
        if self.shown.review is review:
            self.shown.table = table

    def wait(self, qtbot: QtBot) -> None:
        qtbot.waitUntil(lambda: self.updates.task is None, timeout=20_000)


def test_mends_made_meanwhile_are_measured_together_afterwards(qtbot: QtBot) -> None:
    results = Results()
    review = results.show()
    for label in (1, 2, 3):
        results.updates.take_up_mends(frozenset({label}))
    review.go.set()
    results.wait(qtbot)
    assert results.tables == [(review, " [1]"), (review, " [1] [2, 3]")]


def test_other_phases_are_measured_with_the_mends(qtbot: QtBot) -> None:
    results = Results()
    review = results.show()
    results.updates.take_up_mends(frozenset({1}))
    results.updates.take_up_mends(frozenset({2}))
    results.updates.take_up_phases()
    review.go.set()
    results.wait(qtbot)
    assert results.tables == [(review, " [1]"), (review, "phases")]


def test_a_run_shown_while_another_is_measured_gets_its_own_mends(qtbot: QtBot) -> None:
    results = Results()
    first = results.show()
    results.updates.take_up_mends(frozenset({1}))
    results.updates.take_up_mends(frozenset({2}))
    second = results.show()
    results.updates.take_up_mends(frozenset({7}))
    second.go.set()
    first.go.set()
    results.wait(qtbot)
    assert results.tables == [(first, " [1]"), (second, " [7]")]
