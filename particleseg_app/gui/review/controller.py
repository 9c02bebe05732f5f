"""What the review page does: answers to cases, mends by hand, steps back and forth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from particleseg_app.gui.review.journal_steps import Rejection, Step
from particleseg_app.gui.review.mending_work import (
    Changes,
    Drawing,
    changes_anything,
    tool_changes,
)
from particleseg_app.gui.review.neighbourhood import BoxVolume
from particleseg_app.gui.review.review_state import End, ReviewState
from particleseg_app.gui.review.step_texts import KIND_OF_ANSWER, answer_text, tool_text
from particleseg_app.review.entries import REVERT, JournalEntry
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.mending import Mending

BRUSHES = ("paint", "erase")  # stay in the hand after a stroke


class ReviewController(ReviewState):
    """One run under review. Every change goes through `apply`, `undo`, `redo` or `revert`."""

    def __init__(
        self,
        scan: BoxVolume,
        mending: Mending,
        cases: Sequence[ReviewCase],
        typical_diameter_voxels: float,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(scan, mending, cases, typical_diameter_voxels, parent)
        self._joined: set[int] = set()
        self._answered: set[str] = set()  # cases of which the answer is being written
        self._place.ready.connect(self._on_shown)

    # --- the queue -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Show the case where one left off, else the first that is not decided."""
        self.end = ""
        number = self._queue.where_one_left_off()
        if number is not None:
            self.show_case(number)
        else:
            self.next(from_start=True)

    def set_cases(self, cases: Sequence[ReviewCase]) -> None:
        """Take a queue that was made anew."""
        self._queue.take(cases)
        self.cases_changed.emit()

    def show_case(self, number: int) -> None:
        case = self.cases[number]
        self._queue.number = number
        self._show(case.labels, case.box)
        if not self.journal.read_only:
            self._worker.do(
                lambda: self.journal.set_queue_position(case.id),
                lambda _none: None,
                self.failed.emit,
            )

    def show_particles(self, particles: Iterable[int], box: Box) -> None:
        """Show particles that somebody chose, to mend them by hand."""
        self._queue.number = None
        self._show(tuple(particles), box)

    def next(self, from_start: bool = False) -> None:
        """Show the next case that is not decided.

        After the last doubtful one, and after the last of all, the place stays and nothing is
        asked (`end`). From the first of these ends the next step leads to the less doubtful ones.
        """
        number, end = self._following(from_start)
        if number is not None:
            self.show_case(number)
            return
        self.tool, self.end = None, end
        self._joined.clear()
        self._preview.clear()
        self.case_changed.emit()

    def _following(self, from_start: bool = False) -> tuple[int | None, End]:
        """The case that a step leads to, or else the end that it comes to."""
        number = self._queue.next(from_start)
        if number is None:
            return None, "all" if self.cases else ""
        among_less = not from_start and self.number is not None and self.number >= self.doubtful
        if number >= self.doubtful and not among_less and self.end != "doubtful":
            return None, "doubtful"
        return number, ""

    def previous(self) -> None:
        """The case before this one, decided or not; from an end the case that was shown there."""
        if self.end and self.number is not None:
            self.show_case(self.number)
        elif self.number:
            self.show_case(self.number - 1)

    def _show(self, particles: tuple[int, ...], box: Box, tool: str | None = None) -> None:
        self._place.choose(particles, box)
        self._joined.clear()
        self.tool, self.end = tool, ""
        self._preview.clear()
        there = self._place.look(case.box for case in self._queue.ahead)
        self.case_changed.emit()
        if there:
            self._on_shown()

    def _on_shown(self) -> None:
        self.neighbourhood_changed.emit()
        case = self.case
        asked = self._queue.open and not self.end and self.tool is None
        if case is not None and asked and self.neighbourhood is not None:
            self._preview.make(lambda: self._proposed(case))

    def _proposed(self, case: ReviewCase) -> Changes | None:
        from particleseg_app.review.proposals import proposed_change

        return proposed_change(
            case, self.labels, self.journal.next_label(), self.mending.smallest_particle
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

        def done(_: Rejection) -> None:
            self._on_decided()
            if self.case is case and not self.end:
                self.next()

        self._answer(case, lambda: self._steps.reject(case.id), done)

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
        self._preview.clear()
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
        if tool in BRUSHES:
            return  # each stroke is applied when it ends
        if tool == "join":
            drawing = Drawing(amount=drawing.amount, joined=frozenset(self._joined))
        origin = found.box.start
        text = tool_text(tool, (*particles, *sorted(drawing.joined)))
        self._preview.make(
            lambda: tool_changes(self.mending, tool, particles, drawing, origin), text
        )

    def pick(self, voxel: tuple[int, int, int], amount: int = 0) -> None:
        """Take the particle at a voxel of the neighbourhood into the join, or out of it."""
        particle = self._place.particle_at(voxel)
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

        def work() -> Step | None:
            changes = tool_changes(self.mending, tool, particles, drawing, origin)
            if changes is None or not changes_anything(changes):
                return None
            entry = self.mending.apply(changes, tool, text, case_id="" if case is None else case.id)
            return self._steps.step_of(entry, particles)

        def done(step: Step | None) -> None:
            if step is None:
                self._preview.say("This stroke changes nothing.")
                return
            self._steps.forget_what_was_taken_back()
            self._on_changed(step)
            if drawing.new and self.case is case and self.particles == particles:
                self._show_made(step.entry.labels_after)

        self._worker.do(work, done, self._preview.refuse)

    def apply(self) -> None:
        """Apply what the chosen tool would do, once that has been worked out and shown."""
        if self.tool is not None and not self.journal.read_only:
            self._preview.when_made(self._apply_preview)

    def _apply_preview(self) -> None:
        if self.tool is not None and self.changes is not None:
            self._append(self.changes, self.tool, self._preview.about, "mended")

    def _append(
        self, changes: Changes, kind: str, text: str, state: str, go_on: bool = False
    ) -> None:
        case, shown = self.case, self.particles

        def work() -> Step:
            name, decided = ("", "mended") if case is None else (case.id, state)
            entry = self.mending.apply(changes, kind, text, case_id=name, case_state=decided)
            return Step(entry) if go_on else self._steps.step_of(entry, shown)

        def done(step: Step) -> None:
            self._steps.forget_what_was_taken_back()
            goes_on = go_on and self.case is case
            if goes_on and not self.end and self._following()[0] is not None:
                self._tell_changed(step.entry)
                self.next()
                return
            self._on_changed(step)
            if goes_on:  # what became of the last case is shown
                self.next()

        self._preview.clear()
        self._answer(case, work, done)

    def _show_made(self, labels: Sequence[int]) -> None:
        """Go on with particles that were just painted."""
        if labels:
            self._place.particles = tuple(labels)
            self.case_changed.emit()
            if self.neighbourhood is not None:
                self.neighbourhood_changed.emit()

    # --- the journal ---------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last mend or rejection, whichever came later, and show its place."""
        self._step(self._steps.undo)

    def redo(self) -> None:
        self._step(self._steps.redo)

    def revert(self) -> None:
        if not self.journal.read_only:
            self._steps.forget_what_was_taken_back()
            self._step(self._steps.revert)

    def _step(self, step: Callable[[Iterable[int]], Step | Rejection | None]) -> None:
        """One step back or forth."""
        if self.journal.read_only:
            return
        shown = self.particles

        def done(made: Step | Rejection | None) -> None:
            if isinstance(made, Rejection):
                self._on_decided()
                self._show_case_named(made.case_id, again=True)
            elif made is not None:
                self._on_changed(made)
                self._show_place_of(made.entry)

        self._worker.do(lambda: step(shown), done, self.failed.emit)

    def _on_changed(self, step: Step) -> None:
        """Show what a mend, undo or redo made of what is shown."""
        entry, place = step.entry, self._place
        place.forget(entry.box)
        place.particles = step.followed(place.particles)
        if place.box is not None and place.sees(entry.box):
            self._show(place.particles, place.box, self.tool if self.tool in BRUSHES else None)
        self._tell_changed(entry)
        self.case_changed.emit()

    def _tell_changed(self, entry: JournalEntry) -> None:
        self._place.forget(entry.box)
        self.cases_changed.emit()
        self.journal_changed.emit(entry.box, entry.labels)

    def _show_place_of(self, entry: JournalEntry) -> None:
        """After undo and redo: show the case that was answered, or where the mend was made."""
        if entry.kind == REVERT or self._show_case_named(entry.case_id):
            return
        if not self._place.sees(entry.box):
            self.show_particles(entry.labels_after or entry.labels_before, entry.box)

    def _show_case_named(self, case_id: str, again: bool = False) -> bool:
        """Show the case with this id, `again` even if it is shown; False if the queue has none."""
        number = self._queue.number_of(case_id)
        if number is None:
            return False
        if again or number != self.number:
            self.show_case(number)
        return True

    # --- the end -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the threads finish what was asked for and end (`wait`)."""
        self._place.stop()
        self._worker.stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until they have ended, at most so long for each; then the labels may be closed."""
        return self._place.wait(seconds) and self._worker.wait(seconds)
