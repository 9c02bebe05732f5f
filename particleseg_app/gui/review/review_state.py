"""What is known of a review: the cases, the one shown, the previewed change, what can be undone.

It puts together the cases (`case_queue`), what is looked at (`shown_place`), the change that is
previewed (`preview`) and the steps through the journal (`journal_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.review.case_queue import CaseQueue
from particleseg_app.gui.review.journal_steps import JournalSteps
from particleseg_app.gui.review.mending_work import Changes
from particleseg_app.gui.review.neighbourhood import SMALLEST_MARGIN, BoxVolume, Neighbourhood
from particleseg_app.gui.review.preview import Preview
from particleseg_app.gui.review.shown_place import ShownPlace
from particleseg_app.gui.review.worker import Worker

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.mending import Mending

End = Literal["", "doubtful", "all"]


class ReviewState(QObject):
    """One run under review, to be looked at; `ReviewController` changes it."""

    case_changed = Signal()  # another case or particle, or its state
    neighbourhood_changed = Signal()  # there is something to show
    preview_changed = Signal()  # `changes` or `remark`
    journal_changed = Signal(object, object)  # box and labels that changed
    journal_stepped = Signal()  # what can be undone and redone
    cases_changed = Signal()
    failed = Signal(object)

    def __init__(
        self,
        scan: BoxVolume,
        mending: Mending,
        cases: Sequence[ReviewCase],
        typical_diameter_voxels: float,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.mending = mending
        self.labels, self.journal = mending.labels, mending.journal
        self.tool: str | None = None
        # Whether one has come to the end of the doubtful cases, or of all; nothing is asked then.
        self.end: End = ""
        self._queue = CaseQueue(cases, self.journal)
        self._steps = JournalSteps(mending)
        margin = max(SMALLEST_MARGIN, round(1.2 * typical_diameter_voxels))
        self._place = ShownPlace(scan, self.labels, margin, self)
        self._place.failed.connect(self.failed)
        self._worker = Worker(self)
        self._preview = Preview(self._worker, self)
        self._preview.changed.connect(self.preview_changed)
        self._preview.failed.connect(self.failed)

    @property
    def cases(self) -> list[ReviewCase]:
        return self._queue.cases

    @property
    def number(self) -> int | None:
        """Which of the cases is shown; None while a particle chosen by hand is shown."""
        return self._queue.number

    @property
    def case(self) -> ReviewCase | None:
        return self._queue.case

    @property
    def doubts_beside(self) -> list[ReviewCase]:
        """Other doubts about the particles of the case shown that are not decided."""
        return self._queue.doubts_beside

    @property
    def states(self) -> dict[str, str]:
        return self._queue.states

    @property
    def state(self) -> str:
        return self._queue.state

    @property
    def answerable(self) -> bool:
        """Whether the case shown may be answered; one that was left as it is may be, again."""
        return not self.journal.read_only and self._queue.open and not self.end

    @property
    def doubtful(self) -> int:
        """How many cases are doubtful; they come first, and the less doubtful ones after them."""
        return self._queue.doubtful

    @property
    def unanswered(self) -> int:
        """How many of the doubtful cases are not decided."""
        return self._queue.unanswered

    @property
    def particles(self) -> tuple[int, ...]:
        return self._place.particles

    @property
    def neighbourhood(self) -> Neighbourhood | None:
        return self._place.neighbourhood

    @property
    def gone(self) -> bool:
        """Whether none of the particles shown is there any more."""
        return self._place.gone

    @property
    def changes(self) -> Changes | None:
        """The change that is previewed."""
        return self._preview.changes

    @property
    def pending(self) -> bool:
        """Whether a change is still being worked out."""
        return self._preview.pending

    @property
    def remark(self) -> str:
        """Why there is no change to preview."""
        return self._preview.remark

    @property
    def has_next(self) -> bool:
        return self._queue.next() is not None

    @property
    def has_previous(self) -> bool:
        return bool(self.number)

    @property
    def can_undo(self) -> bool:
        return self._steps.can_undo

    @property
    def can_redo(self) -> bool:
        return self._steps.can_redo

    @property
    def busy(self) -> bool:
        return self._worker.busy
