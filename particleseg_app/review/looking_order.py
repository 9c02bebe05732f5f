"""In which order particles are looked at, and what is asked and named at each of them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from particleseg_app.review.cases import ReviewCase

# At a particle the doubts about it that are at least this probable are named, the most probable
# ones, and no more than can be read at a glance.
LEAST_NAMED = 0.01
MOST_NAMED = 7
# Those of them that are as probable as this are asked one after the other; the others wait.
LEAST_ASKED = 0.1


def doubts_beside(cases: Sequence[ReviewCase]) -> list[list[int]]:
    """For each case the numbers of those that it names: other doubts about the particle in focus.

    Whoever looks at a particle sees with it what touches it, so these can be judged at once.
    """
    about = _doubts(cases)
    return [
        [other for other in about.get(case.focus, ()) if other != number][: MOST_NAMED - 1]
        for number, case in enumerate(cases)
    ]


def _doubts(cases: Sequence[ReviewCase]) -> dict[int, list[int]]:
    """The numbers of the cases that are named at each particle, the most probable first."""
    about: dict[int, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        if case.probability >= LEAST_NAMED:
            for label in case.labels:
                about[label].append(number)
    for label, numbers in about.items():
        numbers.sort(key=lambda number: (-cases[number].probability, cases[number].id))
        about[label] = numbers[:MOST_NAMED]
    return about


def in_looking_order(cases: Sequence[ReviewCase]) -> list[ReviewCase]:
    """The cases particle by particle, each with its `focus`.

    Next comes the particle at which the most expected errors are named that were not named
    before: its being several, none, or one with any of its neighbours. So the beginning of the
    queue shows the most errors for the particles looked at, wherever one stops. What is asked
    there comes in the order of expected errors. Bodies without a label stand for themselves.
    Cases too improbable to be asked follow at the end.
    """
    cases = sorted(cases, key=lambda case: (-case.expected_errors, case.id))
    worth = [case.expected_errors for case in cases]
    about = _doubts(cases)
    # A body without a label gets a place of its own among the particles: a negative number.
    for number, case in enumerate(cases):
        if not case.labels and case.probability >= LEAST_NAMED:
            about[-1 - number] = [number]
    named: set[int] = set()
    asked: set[int] = set()

    def gain(particle: int) -> float:
        return sum(worth[number] for number in about[particle] if number not in named)

    waiting = [(-gain(particle), particle) for particle in about]
    heapq.heapify(waiting)
    ordered: list[ReviewCase] = []
    while waiting:
        before, particle = heapq.heappop(waiting)
        now = -gain(particle)
        if now == 0:
            continue
        if now != before:  # some of it has been named at a neighbour
            heapq.heappush(waiting, (now, particle))
            continue
        open_ones = sorted(number for number in about[particle] if number not in asked)
        wanted = [n for n in open_ones if cases[n].probability >= LEAST_ASKED] or open_ones[:1]
        ordered += [replace(cases[number], focus=max(0, particle)) for number in wanted]
        asked.update(wanted)
        named.update(about[particle])
    rest = (case for number, case in enumerate(cases) if number not in asked)
    return [*ordered, *(replace(case, focus=case.labels[0] if case.labels else 0) for case in rest)]
