"""In which order cases are looked at, and what else each of them shows."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from particleseg_app.review.cases import ReviewCase

# A case names the other doubts about its particles that are at least this probable, the most
# probable ones, and no more than can be read at a glance.
LEAST_NAMED = 0.01
MOST_NAMED = 6
# What a case that another one has named already still counts in the order.
NAMED_BEFORE = 0.3


def doubts_beside(cases: Sequence[ReviewCase]) -> list[list[int]]:
    """For each case the numbers of those that it names: other doubts about its particles.

    Whoever looks at a particle sees with it what touches it, so these can be judged at once.
    """
    of_particle: dict[int, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        if case.probability >= LEAST_NAMED:
            for label in case.labels:
                of_particle[label].append(number)
    for numbers in of_particle.values():
        numbers.sort(key=lambda number: (-cases[number].probability, cases[number].id))
    found = []
    for number, case in enumerate(cases):
        beside = {
            other
            for label in case.labels
            for other in of_particle[label][: MOST_NAMED + 1]
            if other != number
        }
        ranked = sorted(beside, key=lambda other: (-cases[other].probability, cases[other].id))
        found.append(ranked[:MOST_NAMED])
    return found


def in_order_of_gain(cases: Sequence[ReviewCase]) -> list[ReviewCase]:
    """The order that shows the most expected errors for each particle that is looked at.

    What a case is expected to show is its own error and those that it names (`doubts_beside`),
    each counted once; what it costs are the particles in it that no case before it has shown. A
    case that was named before still counts a little, because it must be answered; one whose
    particles were all shown costs half a look. Equal ones come in the order of their names. A
    greedy choice, so that the beginning of the queue is best wherever one stops.
    """
    cases = sorted(cases, key=lambda case: (-case.expected_errors, case.id))
    beside = doubts_beside(cases)
    worth = [case.expected_errors for case in cases]
    of_particle: dict[int, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        for label in case.labels:
            of_particle[label].append(number)
    shown: set[int] = set()
    named: set[int] = set()

    def gain(number: int) -> float:
        value = worth[number] * (NAMED_BEFORE if number in named else 1.0)
        value += sum(worth[other] for other in beside[number] if other not in named)
        labels = cases[number].labels
        new = sum(label not in shown for label in labels) if labels else 1
        return value / max(0.5, new)

    waiting = [(-gain(number), number) for number in range(len(cases))]
    heapq.heapify(waiting)
    done: set[int] = set()
    ordered = []
    while waiting:
        before, number = heapq.heappop(waiting)
        if number in done:
            continue
        now = -gain(number)
        if now > before:  # others have been named meanwhile
            heapq.heappush(waiting, (now, number))
            continue
        done.add(number)
        ordered.append(cases[number])
        new = [label for label in cases[number].labels if label not in shown]
        shown.update(new)
        named.add(number)
        named.update(beside[number])
        # Its neighbours cost less now.
        for other in {other for label in new for other in of_particle[label]} - done:
            heapq.heappush(waiting, (-gain(other), other))
    return ordered
