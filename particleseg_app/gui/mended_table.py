"""The table of the run that is shown, brought up to date after mends and with other phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.shown import Shown
from particleseg_app.gui.tasks import Task
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.projects.review_files import Review


class MendedTable(QObject):
    """Measures in the background what changed, all of it at once as soon as it can.

    `measured` with a review and its table; `failed` with the error. `shown` gives what is shown.
    """

    measured = Signal(object, object)
    failed = Signal(object)

    def __init__(self, shown: Callable[[], Shown | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._shown = shown
        self.task: Task | None = None  # while it measures
        # What is still to be measured, and whose labels these are.
        self._review: Review | None = None
        self._mended: set[int] = set()
        self._other_phases = False

    def take_up_mends(self, labels: frozenset[int]) -> None:
        """After a mend of the run shown that changed `labels`."""
        self._forget_other_reviews()
        self._mended |= labels
        self._measure()

    def take_up_phases(self) -> None:
        """When the run shown got other phases."""
        self._forget_other_reviews()
        self._other_phases = True
        self._measure()

    def _forget_other_reviews(self) -> None:
        """Whatever is shown next is measured anew when it is opened."""
        shown = self._shown()
        review = None if shown is None else shown.review
        if review is not self._review:
            self._review, self._mended, self._other_phases = review, set(), False

    def _measure(self) -> None:
        shown = self._shown()
        if self.task is not None or shown is None or shown.review is None or shown.table is None:
            return
        self._forget_other_reviews()
        if not self._mended and not self._other_phases:
            return
        labels, self._mended = frozenset(self._mended), set()
        other_phases, self._other_phases = self._other_phases, False
        review, table, scan = shown.review, shown.table, shown.scan

        def work(progress: Progress, cancel: CancelToken) -> pd.DataFrame:
            if other_phases:
                review.read_phases()
                return review.table(scan, progress, cancel)
            return review.table_after(table, labels, scan, progress, cancel)

        def ended() -> None:
            self.task = None
            self._measure()

        self.task = Task("Measuring mended particles", work)
        self.task.finished.connect(lambda measured: self.measured.emit(review, measured))
        self.task.failed.connect(self.failed)
        self.task.ended.connect(ended)
        self.task.start()
