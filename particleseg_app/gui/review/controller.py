"""What the review page knows and does: the case shown, the proposed change, the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import UserError
from particleseg_app.gui.review.mending_work import (
    Changes,
    Drawing,
    changes_anything,
    tool_changes,
)
from particleseg_app.gui.review.neighbourhood import BoxVolume, Neighbourhood
from particleseg_app.gui.review.read_ahead import NeighbourhoodReader, Place
from particleseg_app.gui.review.step_texts import KIND_OF_ANSWER, answer_text, tool_text
from particleseg_app.gui.review.worker import Worker
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.entries import JournalEntry
    from particleseg_app.review.mending import Mending

logger = logging.getLogger(__name__)

CASES_AHEAD = 10
PREVIEW = "preview"
DECIDED = ("accepted", "rejected", "mended")


class ReviewController(QObject):
    """One run under review. Every change goes through `apply`, `undo`, `redo` or `revert`."""

    case_changed = Signal()  # another case or particle, or its state
    neighbourhood_changed = Signal()  # there is something to show
    preview_changed = Signal()  # `changes` or `remark`
    journal_changed = Signal(object, object)  # box and labels that changed
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
        self._margin = max(8, round(1.2 * typical_diameter_voxels))
        self._reader = NeighbourhoodReader(scan, self.labels, self)
        self._reader.ready.connect(self._on_read)
        self._reader.failed.connect(lambda _place, error: self.failed.emit(error))
        self._worker = Worker(self)
        self._joined: set[int] = set()

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

    def next(self, from_start: bool = False) -> None:
        """The next case that is not decided; nothing is shown after the last one."""
        first = 0 if from_start or self.number is None else self.number + 1
        states = self.states
        for number in range(first, len(self.cases)):
            if states.get(self.cases[number].id, "") not in DECIDED:
                self.show_case(number)
                return
        self.case_changed.emit()

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

    def _show(self, particles: tuple[int, ...], box: Box) -> None:
        self.particles, self._box = particles, box
        self._joined.clear()
        self.tool = None
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
        if case is not None and found is not None and self.state not in DECIDED:
            self._preview(lambda: self._proposed(case))

    def _proposed(self, case: ReviewCase) -> Changes | None:
        from particleseg_app.review.proposals import proposed_change

        return proposed_change(case, self.labels, self.journal.next_label())

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
        if case is not None and changes is not None and self.tool is None:
            text = answer_text(case)
            self._append(changes, KIND_OF_ANSWER[case.kind], text, "accepted", go_on=True)

    def reject(self) -> None:
        """The case is right as it is; go on."""
        case = self.case
        if case is None or self.journal.read_only:
            return
        self._worker.do(
            lambda: self.journal.set_case_state(case.id, "rejected"),
            lambda _none: self._decided(),
            self.failed.emit,
        )

    def _decided(self) -> None:
        self.cases_changed.emit()
        self.next()

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
        """Paint or erase along a stroke, at once: each stroke is one entry of the journal."""
        tool, found, particles = self.tool, self.neighbourhood, self.particles
        if tool not in ("paint", "erase") or found is None or not particles:
            return
        case, text, origin = self.case, tool_text(tool, particles), found.box.start

        def work() -> JournalEntry | None:
            changes = tool_changes(self.mending, tool, particles, drawing, origin)
            if changes is None or not changes_anything(changes):
                return None
            return self.mending.apply(changes, tool, text, case_id="" if case is None else case.id)

        def done(entry: JournalEntry | None) -> None:
            if entry is None:
                self._set_preview(None, "This stroke changes nothing.")
            else:
                self._on_changed(entry, stay=True)

        self._worker.do(work, done, self._on_no_preview)

    def apply(self) -> None:
        """Apply the previewed change of the chosen tool."""
        if self.tool is None or self.changes is None:
            return
        particles = (*self.particles, *sorted(self._joined))
        text = tool_text(self.tool, particles)
        self._append(self.changes, self.tool, text, "mended")

    # --- the journal ---------------------------------------------------------------------------

    def undo(self) -> None:
        self._worker.do(self.journal.undo, self._on_stepped, self.failed.emit)

    def redo(self) -> None:
        self._worker.do(self.journal.redo, self._on_stepped, self.failed.emit)

    def revert(self) -> None:
        self._worker.do(self.journal.revert, self._on_stepped, self.failed.emit)

    def _append(
        self, changes: Changes, kind: str, text: str, state: str, go_on: bool = False
    ) -> None:
        case = self.case

        def work() -> JournalEntry:
            if case is None:
                return self.mending.apply(changes, kind, text)
            return self.mending.apply(changes, kind, text, case_id=case.id, case_state=state)

        def done(entry: JournalEntry) -> None:
            self._on_changed(entry, stay=not go_on)
            if go_on:
                self.next()

        self._set_preview(None)
        self._worker.do(work, done, self.failed.emit)

    def _on_stepped(self, entry: JournalEntry | None) -> None:
        if entry is not None:
            self._on_changed(entry, stay=True)

    def _on_changed(self, entry: JournalEntry, stay: bool) -> None:
        self._reader.forget(entry.box)
        if stay:
            kept = self.tool if self.tool in ("paint", "erase") else None
            self._follow(entry)
            if self._box is not None:
                number = self.number
                self._show(self.particles, self._box)
                self.number = number
            self.tool = kept
        self.cases_changed.emit()
        self.journal_changed.emit(entry.box, entry.labels)
        self.case_changed.emit()

    def _follow(self, entry: JournalEntry) -> None:
        """After a mend, the particles shown are those that it made of the ones shown before."""
        shown = set(self.particles)
        if shown & (set(entry.labels_before) | set(entry.labels_after)):
            case = self.case
            made = set(entry.labels_after) | set(entry.labels_before)
            alive = {label for label in (shown | made) if self._is_there(label, entry)}
            if case is None and alive:
                self.particles = tuple(sorted(alive))

    def _is_there(self, label: int, entry: JournalEntry) -> bool:
        return bool((self.labels.read(entry.box) == label).any())

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
