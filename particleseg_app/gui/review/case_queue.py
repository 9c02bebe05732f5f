"""The cases of a review: which one is shown, which are decided, which comes next; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from particleseg_app.review.journal import ReviewJournal

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

CASES_AHEAD = 10
DECIDED = ("accepted", "rejected", "mended")


class CaseQueue:
    """The doubtful cases in their order, then the less doubtful ones, which the house does not ask
    by itself (`looking_order.LEAST_ASKED`). `number` is the one shown, None while there is none.
    """

    def __init__(self, cases: Sequence[ReviewCase], journal: ReviewJournal) -> None:
        self._journal = journal
        self.number: int | None = None
        self.take(cases)

    def take(self, cases: Sequence[ReviewCase]) -> None:
        """Take a queue that was made anew; the case shown stays where it is still there."""
        from particleseg_app.review.looking_order import LEAST_ASKED, doubts_beside

        shown = None if self.number is None else self.case
        # A particle with many small doubts may stand before one with a large one in the queue.
        self.cases: list[ReviewCase] = sorted(cases, key=lambda c: c.probability < LEAST_ASKED)
        self.doubtful = sum(1 for case in self.cases if case.probability >= LEAST_ASKED)
        self._beside = doubts_beside(self.cases)
        self.number = None if shown is None else self.number_of(shown.id)

    @property
    def case(self) -> ReviewCase | None:
        return None if self.number is None else self.cases[self.number]

    @property
    def states(self) -> dict[str, str]:
        """What was decided, by the cases' names."""
        return self._journal.case_states()

    @property
    def state(self) -> str:
        """What was decided of the case shown; empty for nothing."""
        case = self.case
        return "" if case is None else self.states.get(case.id, "")

    @property
    def open(self) -> bool:
        """Whether the case shown may be answered; one that was left as it is may be, again."""
        return self.case is not None and self.state not in ("accepted", "mended")

    @property
    def doubts_beside(self) -> list[ReviewCase]:
        """Other doubts about the particles of the case shown that are not decided."""
        if self.number is None:
            return []
        states = self.states
        found = [self.cases[number] for number in self._beside[self.number]]
        return [case for case in found if states.get(case.id, "") not in DECIDED]

    @property
    def ahead(self) -> list[ReviewCase]:
        """The case shown and those that follow, which are read before they are asked for."""
        first = self.number or 0
        return self.cases[first : first + CASES_AHEAD + 1]

    @property
    def unanswered(self) -> int:
        """How many of the doubtful cases are not decided."""
        states = self.states
        doubtful = self.cases[: self.doubtful]
        return sum(1 for case in doubtful if states.get(case.id, "") not in DECIDED)

    def number_of(self, case_id: str) -> int | None:
        for number, case in enumerate(self.cases):
            if case.id == case_id:
                return number
        return None

    def where_one_left_off(self) -> int | None:
        """The case that was shown last, unless it has been decided."""
        place = self._journal.queue_position
        number = self.number_of(place)
        if number is None or self.states.get(self.cases[number].id, "") in DECIDED:
            return None
        return number

    def next(self, from_start: bool = False) -> int | None:
        """The next case that is not decided; None after the last one."""
        first = 0 if from_start or self.number is None else self.number + 1
        states = self.states
        for number in range(first, len(self.cases)):
            if states.get(self.cases[number].id, "") not in DECIDED:
                return number
        return None
