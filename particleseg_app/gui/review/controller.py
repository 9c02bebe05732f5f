"""What the review page knows and does: the case shown, the proposed change, the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import UserError
from particleseg_app.gui.review.mending_work import (
    Changes,
    Drawing,
    changes_anything,
    tool_changes,
)
from particleseg_app.gui.review.neighbourhood import (
    SMALLEST_MARGIN,
    BoxVolume,
    Neighbourhood,
    box_to_show,
)
from particleseg_app.gui.review.read_ahead import NeighbourhoodReader, Place
from particleseg_app.gui.review.step_texts import KIND_OF_ANSWER, answer_text, tool_text
from particleseg_app.gui.review.worker import Worker
from particleseg_app.review.entries import REVERT, JournalEntry
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.mending import Mending

logger = logging.getLogger(__name__)

CASES_AHEAD = 10
PREVIEW = "preview"
DECIDED = ("accepted", "rejected", "mended")
BRUSHES = ("paint", "erase")  # stay in the hand after a stroke


@dataclass(frozen=True)
class _Step:
    """A mend, undone or redone or not, and the particles that are there of those concerned; none
    where nobody will ask, because the next case is shown."""

    entry: JournalEntry
    alive: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Rejection:
    """A case was left as it is; `after_mend` is the mend that was the last one then."""

    case_id: str
    before: str
    after_mend: int


class ReviewController(QObject):
    """One run under review. Every change goes through `apply`, `undo`, `redo` or `revert`."""

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
        self._take(cases)
        self.number: int | None = None
        self.particles: tuple[int, ...] = ()
        self.neighbourhood: Neighbourhood | None = None
        self.changes: Changes | None = None
        self.remark = ""
        self.tool: str | None = None
        self._box: Box | None = None
        self._margin = max(SMALLEST_MARGIN, round(1.2 * typical_diameter_voxels))
        self._reader = NeighbourhoodReader(scan, self.labels, self)
        self._reader.ready.connect(self._on_read)
        self._reader.failed.connect(lambda _place, error: self.failed.emit(error))
        self._worker = Worker(self)
        self._joined: set[int] = set()
        self._answered: set[str] = set()  # cases of which the answer is being written
        self._rejected: list[_Rejection] = []  # of this session, so that they can be taken back
        self._rejected_again: list[_Rejection] = []

    # --- the queue -----------------------------------------------------------------------------

    @property
    def case(self) -> ReviewCase | None:
        """The case shown; None while a particle chosen by hand is shown."""
        return None if self.number is None else self.cases[self.number]

    def _take(self, cases: Sequence[ReviewCase]) -> None:
        from particleseg_app.review.looking_order import doubts_beside

        self.cases: list[ReviewCase] = list(cases)
        self._beside = doubts_beside(self.cases)

    @property
    def doubts_beside(self) -> list[ReviewCase]:
        """Other doubts about the particles of the case shown that are not decided."""
        if self.number is None:
            return []
        states = self.states
        found = [self.cases[number] for number in self._beside[self.number]]
        return [case for case in found if states.get(case.id, "") not in DECIDED]

    @property
    def states(self) -> dict[str, str]:
        return self.journal.case_states()

    @property
    def state(self) -> str:
        case = self.case
        return "" if case is None else self.states.get(case.id, "")

    @property
    def answerable(self) -> bool:
        """Whether the case shown may be answered; one that was left as it is may be, again."""
        return (
            self.case is not None
            and not self.journal.read_only
            and self.state not in ("accepted", "mended")
        )

    def begin(self) -> None:
        """Show the case where one left off, else the first that is not decided."""
        place = self.journal.queue_position
        for number, case in enumerate(self.cases):
            if case.id == place and self.states.get(case.id, "") not in DECIDED:
                self.show_case(number)
                return
        self.next(from_start=True)

    def set_cases(self, cases: Sequence[ReviewCase]) -> None:
        """Take a queue that was made anew."""
        shown = self.case
        self._take(cases)
        self.number = None
        if shown is not None:
            ids = [case.id for case in self.cases]
            self.number = ids.index(shown.id) if shown.id in ids else None
        self.cases_changed.emit()

    def show_case(self, number: int) -> None:
        case = self.cases[number]
        self.number = number
        self._show(case.labels, case.box)
        self._remember(case.id)

    def show_particles(self, particles: Iterable[int], box: Box) -> None:
        """Show particles that somebody chose, to mend them by hand."""
        self.number = None
        self._show(tuple(particles), box)

    def next(self, from_start: bool = False) -> bool:
        """Show the next case that is not decided; False after the last one, which stays."""
        first = 0 if from_start or self.number is None else self.number + 1
        states = self.states
        for number in range(first, len(self.cases)):
            if states.get(self.cases[number].id, "") not in DECIDED:
                self.show_case(number)
                return True
        self.case_changed.emit()
        return False

    def previous(self) -> None:
        """The case before this one, decided or not."""
        if self.number:
            self.show_case(self.number - 1)

    @property
    def has_next(self) -> bool:
        first = 0 if self.number is None else self.number + 1
        states = self.states
        return any(states.get(case.id, "") not in DECIDED for case in self.cases[first:])

    @property
    def has_previous(self) -> bool:
        return bool(self.number)

    def _show(self, particles: tuple[int, ...], box: Box, tool: str | None = None) -> None:
        if box != self._box:
            self.neighbourhood = None  # so that nobody draws the old place anew
        self.particles, self._box = particles, box
        self._joined.clear()
        self.tool = tool
        self._set_preview(None)
        place = (box, self._margin)
        ahead = self.cases[(self.number or 0) : (self.number or 0) + CASES_AHEAD + 1]
        places: list[Place] = [place, *((case.box, self._margin) for case in ahead)]
        found = self._reader.get(place)
        self._reader.want(list(dict.fromkeys(places)))
        self.neighbourhood = found
        self.case_changed.emit()
        if found is not None:
            self._on_shown()

    def _on_read(self, place: Place, found: Neighbourhood) -> None:
        if self._box is not None and place == (self._box, self._margin):
            self.neighbourhood = found
            self._on_shown()

    def _on_shown(self) -> None:
        self.neighbourhood_changed.emit()
        case, found = self.case, self.neighbourhood
        open_case = case is not None and self.state not in ("accepted", "mended")
        if case is not None and found is not None and open_case and self.tool is None:
            self._preview(lambda: self._proposed(case))

    def _proposed(self, case: ReviewCase) -> Changes | None:
        from particleseg_app.review.proposals import proposed_change

        return proposed_change(
            case, self.labels, self.journal.next_label(), self.mending.smallest_particle
        )

    def _remember(self, case_id: str) -> None:
        if not self.journal.read_only:
            self._worker.do(
                lambda: self.journal.set_queue_position(case_id),
                lambda _none: None,
                self.failed.emit,
            )

    # --- answers -------------------------------------------------------------------------------

    def accept(self) -> None:
        """Apply what is proposed, then go on."""
        case, changes = self.case, self.changes
        if case is None or changes is None or self.tool is not None or not self.answerable:
            return
        if case.id not in self._answered:
            text = answer_text(case)
            self._append(changes, KIND_OF_ANSWER[case.kind], text, "accepted", go_on=True)

    def reject(self) -> None:
        """The case is right as it is; go on."""
        case = self.case
        if case is None or not self.answerable or case.id in self._answered:
            return

        def work() -> _Rejection:
            rejection = _Rejection(
                case.id, self.journal.case_states().get(case.id, ""), self._last_mend()
            )
            self.journal.set_case_state(case.id, "rejected")
            return rejection

        def done(rejection: _Rejection) -> None:
            self._rejected.append(rejection)
            self._rejected_again.clear()
            self._on_decided()
            if self.case is case:
                self.next()

        self._answer(case, work, done)

    def _answer(
        self, case: ReviewCase | None, work: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        """Write an answer; until that is done no other one is taken for this case.

        So a key that is pressed twice in a hurry never answers the case after this one.
        """
        name = "" if case is None else case.id
        self._answered.add(name)

        def on_done(result: Any) -> None:
            self._answered.discard(name)
            done(result)

        def on_failed(error: BaseException) -> None:
            self._answered.discard(name)
            self.failed.emit(error)
            if self.case is case and self.neighbourhood is not None:
                self._on_shown()  # what is proposed can be tried again

        self._worker.do(work, on_done, on_failed)

    def _on_decided(self) -> None:
        self.cases_changed.emit()
        self.journal_stepped.emit()

    # --- mending by hand -----------------------------------------------------------------------

    def use_tool(self, name: str | None, amount: int = 0) -> None:
        """Take a tool, or put it away; without a tool the case's own proposal is shown again."""
        self.tool = name
        self._joined.clear()
        self._set_preview(None)
        if name is None:
            if self.neighbourhood is not None:
                self._on_shown()
        else:
            self.preview_tool(Drawing(amount=amount))

    def preview_tool(self, drawing: Drawing) -> None:
        """Show what the chosen tool would do with what is drawn."""
        tool, found, particles = self.tool, self.neighbourhood, self.particles
        if tool is None or found is None or not particles:
            return
        if tool in ("paint", "erase"):
            return  # each stroke is applied when it ends
        if tool == "join":
            drawing = Drawing(amount=drawing.amount, joined=frozenset(self._joined))
        origin = found.box.start
        self._preview(lambda: tool_changes(self.mending, tool, particles, drawing, origin))

    def pick(self, voxel: tuple[int, int, int], amount: int = 0) -> None:
        """Take the particle at a voxel of the neighbourhood into the join, or out of it."""
        if self.neighbourhood is None:
            return
        inside = all(
            0 <= v < n for v, n in zip(voxel, self.neighbourhood.labels.shape, strict=True)
        )
        particle = int(self.neighbourhood.labels[voxel]) if inside else 0
        if particle and particle not in self.particles:
            self._joined ^= {particle}
            self.preview_tool(Drawing(amount=amount))

    def paint(self, drawing: Drawing) -> None:
        """Paint or erase along a stroke, at once: each stroke is one entry of the journal.

        A stroke of a new particle shows that one from then on, so that the next stroke adds to it.
        """
        tool, found, particles = self.tool, self.neighbourhood, self.particles
        if tool not in BRUSHES or found is None or self.journal.read_only:
            return
        if not particles and not drawing.new:
            return
        case, origin = self.case, found.box.start
        text = "New particle painted" if drawing.new else tool_text(tool, particles)

        def work() -> _Step | None:
            changes = tool_changes(self.mending, tool, particles, drawing, origin)
            if changes is None or not changes_anything(changes):
                return None
            entry = self.mending.apply(changes, tool, text, case_id="" if case is None else case.id)
            return self._step_of(entry, particles)

        def done(step: _Step | None) -> None:
            if step is None:
                self._set_preview(None, "This stroke changes nothing.")
                return
            self._forget_rejections()
            self._on_changed(step)
            if drawing.new and self._shows(particles, case):
                self._show_made(step.entry.labels_after)

        self._worker.do(work, done, self._on_no_preview)

    def apply(self) -> None:
        """Apply the previewed change of the chosen tool."""
        if self.tool is None or self.changes is None or self.journal.read_only:
            return
        particles = (*self.particles, *sorted(self._joined))
        text = tool_text(self.tool, particles)
        self._append(self.changes, self.tool, text, "mended")

    # --- the journal ---------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        return not self.journal.read_only and (bool(self._rejected) or self.journal.can_undo)

    @property
    def can_redo(self) -> bool:
        return not self.journal.read_only and (bool(self._rejected_again) or self.journal.can_redo)

    def undo(self) -> None:
        """Take back the last mend or rejection, whichever came later, and show its place."""
        self._step(self._rejected, self._rejected_again, self.journal.undo)

    def redo(self) -> None:
        self._step(self._rejected_again, self._rejected, self.journal.redo)

    def revert(self) -> None:
        if not self.journal.read_only:
            self._forget_rejections()
            self._step([], [], self.journal.revert)

    def _step(
        self,
        rejections: list[_Rejection],
        taken_back: list[_Rejection],
        step: Callable[[], JournalEntry | None],
    ) -> None:
        """One step back or forth: a rejection if it is next in turn, else a mend."""
        if self.journal.read_only:
            return
        backwards = rejections is self._rejected
        shown = self.particles

        def work() -> _Step | _Rejection | None:
            if rejections and rejections[-1].after_mend == self._last_mend():
                rejection = rejections.pop()
                state = rejection.before if backwards else "rejected"
                self.journal.set_case_state(rejection.case_id, state)
                taken_back.append(rejection)
                return rejection
            entry = step()
            return None if entry is None else self._step_of(entry, shown)

        def done(made: _Step | _Rejection | None) -> None:
            if isinstance(made, _Rejection):
                self._on_decided()
                self._show_case_named(made.case_id, again=True)
            elif made is not None:
                self._on_changed(made)
                self._show_place_of(made.entry)

        self._worker.do(work, done, self.failed.emit)

    def _forget_rejections(self) -> None:
        """After a new mend nothing that was taken back can be done again."""
        self._rejected_again.clear()

    def _last_mend(self) -> int:
        """Number of the last mend that is applied; 0 when there is none."""
        applied = (e.id for e in self.journal.entries() if e.state in ("applied", "reverted"))
        return max(applied, default=0)

    def _append(
        self, changes: Changes, kind: str, text: str, state: str, go_on: bool = False
    ) -> None:
        case, shown = self.case, self.particles

        def work() -> _Step:
            name, decided = ("", "mended") if case is None else (case.id, state)
            entry = self.mending.apply(changes, kind, text, case_id=name, case_state=decided)
            return _Step(entry) if go_on else self._step_of(entry, shown)

        def done(step: _Step) -> None:
            self._forget_rejections()
            still = self.case is case
            if go_on and still and self.has_next:
                self._tell_changed(step.entry)
                self.next()
            else:
                self._on_changed(step)

        self._set_preview(None)
        self._answer(case, work, done)

    def _step_of(self, entry: JournalEntry, shown: Iterable[int]) -> _Step:
        """Which of the particles shown, and of those changed, there are now; in the worker."""
        concerned = {*shown, *entry.labels_before, *entry.labels_after}
        if entry.kind == REVERT:
            concerned = set(shown)
        return _Step(entry, frozenset(n for n in concerned if self.mending.is_there(n)))

    def _on_changed(self, step: _Step) -> None:
        """Show what a mend, undo or redo made of what is shown."""
        entry = step.entry
        self._reader.forget(entry.box)
        self._follow(step)
        if self._box is not None and self._sees(entry.box):
            self._show(self.particles, self._box, self.tool if self.tool in BRUSHES else None)
        self._tell_changed(entry)
        self.case_changed.emit()

    def _tell_changed(self, entry: JournalEntry) -> None:
        self._reader.forget(entry.box)
        self.cases_changed.emit()
        self.journal_changed.emit(entry.box, entry.labels)

    def _follow(self, step: _Step) -> None:
        """After a mend, the particles shown are those that it made of the ones shown before."""
        shown = set(self.particles)
        entry = step.entry
        if shown & entry.labels:
            made = set(entry.labels) if entry.kind != REVERT else set()
            alive = (shown | made) & step.alive
            if alive:
                # The one that was first stays first: brush and split take it.
                self.particles = tuple(sorted(alive, key=lambda n: (n not in shown, n)))

    def _shows(self, particles: tuple[int, ...], case: ReviewCase | None) -> bool:
        return self.case is case and self.particles == particles

    def _show_made(self, labels: Sequence[int]) -> None:
        """Go on with particles that were just painted."""
        if labels:
            self.particles = tuple(labels)
            self.case_changed.emit()
            if self.neighbourhood is not None:
                self.neighbourhood_changed.emit()

    def _show_place_of(self, entry: JournalEntry) -> None:
        """After undo and redo: show the case that was answered, or where the mend was made."""
        if entry.kind == REVERT or self._show_case_named(entry.case_id):
            return
        if not self._sees(entry.box):
            self.show_particles(entry.labels_after or entry.labels_before, entry.box)

    def _sees(self, box: Box) -> bool:
        """Whether any of a box is, or will be when it has been read, in what is shown."""
        if self._box is None:
            return False
        shown = box_to_show(self._box, self.labels.shape, self._margin)
        return shown.intersection(box).size > 0

    def _show_case_named(self, case_id: str, again: bool = False) -> bool:
        """Show the case with this id, `again` even if it is shown; False if the queue has none."""
        for number, case in enumerate(self.cases):
            if case.id == case_id:
                if again or number != self.number:
                    self.show_case(number)
                return True
        return False

    # --- previews ------------------------------------------------------------------------------

    def _preview(self, work: Callable[[], Changes | None]) -> None:
        def checked() -> tuple[Changes | None, bool]:
            changes = work()
            return changes, changes is None or changes_anything(changes)

        self._worker.do(checked, self._on_preview, self._on_no_preview, PREVIEW)

    def _on_preview(self, outcome: tuple[Changes | None, bool]) -> None:
        changes, any_change = outcome
        if any_change:
            self._set_preview(changes)
        else:
            self._set_preview(None, "This would not change anything.")

    def _on_no_preview(self, error: BaseException) -> None:
        if isinstance(error, UserError):
            self._set_preview(None, str(error))
        else:
            self._set_preview(None)
            self.failed.emit(error)

    def _set_preview(self, changes: Changes | None, remark: str = "") -> None:
        if changes is None and not remark:
            self._worker.forget(PREVIEW)
        self.changes, self.remark = changes, remark
        self.preview_changed.emit()

    @property
    def busy(self) -> bool:
        return self._worker.busy

    def stop(self) -> None:
        """Finish what was asked for and end the threads. The labels may be closed afterwards."""
        self._reader.stop()
        self._worker.stop()
