"""Steps through the journal of a review: mends and answers, back and forth; no Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from particleseg_app.review.entries import REVERT, JournalEntry
from particleseg_app.review.mending import Mending


@dataclass(frozen=True)
class Step:
    """A mend, undone or redone or not, and the particles that are there of those concerned; none
    where nobody will ask, because the next case is shown."""

    entry: JournalEntry
    alive: frozenset[int] = frozenset()

    def followed(self, shown: tuple[int, ...]) -> tuple[int, ...]:
        """The particles that this made of the ones shown; the same where it concerns none."""
        entry, before = self.entry, set(shown)
        if not before & entry.labels:
            return shown
        made = set(entry.labels) if entry.kind != REVERT else set()
        alive = (before | made) & self.alive
        # The one that was first stays first: brush and split take it.
        return tuple(sorted(alive, key=lambda n: (n not in before, n))) if alive else shown


@dataclass(frozen=True)
class Rejection:
    """A case was left as it is; `after_mend` is the mend that was the last one then."""

    case_id: str
    before: str
    after_mend: int


class JournalSteps:
    """What can be taken back and done again: mends of the journal, and rejections of this session
    in their turn. All that writes is to be called in the worker."""

    def __init__(self, mending: Mending) -> None:
        self._mending, self._journal = mending, mending.journal
        self._rejected: list[Rejection] = []
        self._rejected_again: list[Rejection] = []

    @property
    def can_undo(self) -> bool:
        journal = self._journal
        return not journal.read_only and (bool(self._rejected) or journal.can_undo)

    @property
    def can_redo(self) -> bool:
        journal = self._journal
        return not journal.read_only and (bool(self._rejected_again) or journal.can_redo)

    def reject(self, case_id: str) -> Rejection:
        """Write that a case is right as it is.

        It can be taken back from then on, by whatever is asked for next.
        """
        before = self._journal.case_states().get(case_id, "")
        rejection = Rejection(case_id, before, self._last_mend())
        self._journal.set_case_state(case_id, "rejected")
        self._rejected.append(rejection)
        self._rejected_again.clear()
        return rejection

    def forget_what_was_taken_back(self) -> None:
        """After a new mend nothing that was taken back can be done again."""
        self._rejected_again.clear()

    def undo(self, shown: Iterable[int]) -> Step | Rejection | None:
        """Take back the last mend or rejection, whichever came later; None where there is none."""
        found = self._rejection(self._rejected, self._rejected_again, backwards=True)
        return found or self._step(self._journal.undo, shown)

    def redo(self, shown: Iterable[int]) -> Step | Rejection | None:
        found = self._rejection(self._rejected_again, self._rejected, backwards=False)
        return found or self._step(self._journal.redo, shown)

    def revert(self, shown: Iterable[int]) -> Step | None:
        return self._step(self._journal.revert, shown)

    def step_of(self, entry: JournalEntry, shown: Iterable[int]) -> Step:
        """Which of the particles shown, and of those changed, there are now."""
        concerned = {*shown, *entry.labels_before, *entry.labels_after}
        if entry.kind == REVERT:
            concerned = set(shown)
        return Step(entry, frozenset(n for n in concerned if self._mending.is_there(n)))

    def _step(self, step: Callable[[], JournalEntry | None], shown: Iterable[int]) -> Step | None:
        entry = step()
        return None if entry is None else self.step_of(entry, shown)

    def _rejection(
        self, done: list[Rejection], taken_back: list[Rejection], *, backwards: bool
    ) -> Rejection | None:
        """Take back a rejection, or do it again, if it is next in turn."""
        if not done or done[-1].after_mend != self._last_mend():
            return None
        rejection = done.pop()
        state = rejection.before if backwards else "rejected"
        self._journal.set_case_state(rejection.case_id, state)
        taken_back.append(rejection)
        return rejection

    def _last_mend(self) -> int:
        """Number of the last mend that is applied; 0 when there is none."""
        applied = (e.id for e in self._journal.entries() if e.state in ("applied", "reverted"))
        return max(applied, default=0)
