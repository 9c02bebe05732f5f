"""What is said about a case and its particles, in words; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from particleseg_app.gui.formats import format_count

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

QUESTIONS = {
    "merger": "Two particles joined?",
    "splitter": "One particle cut in two?",
    "false particle": "Not a particle?",
    "missed particle": "A particle missed?",
}
ANSWERS = {
    "merger": "Split as drawn",
    "splitter": "Join them",
    "false particle": "Remove it",
    "missed particle": "Add it",
}
STATES = {
    "": "",
    "accepted": "Mended as proposed",
    "rejected": "Right as it is",
    "mended": "Mended by hand",
    "skipped": "Skipped",
}
_ALSO = {"merger": "joined?", "splitter": "one particle?", "false particle": "no particle?"}
MOST_NAMED = 6  # particles of a group


def likelihood_text(probability: float) -> str:
    """A probability for people: 83 %, and no more than is known at the ends."""
    percent = 100 * probability
    if percent > 99:
        return "> 99 %"
    if percent < 1:
        return "< 1 %"
    # What is less doubtful must not read like what is doubtful.
    least = round(100 * least_doubtful())
    return f"< {least} %" if percent < least <= round(percent) else f"{percent:.0f} %"


def least_doubtful() -> float:
    """How probable an error is in a doubtful case; the others come at the end of the queue."""
    from particleseg_app.review.looking_order import LEAST_ASKED

    return LEAST_ASKED


def question_text(case: ReviewCase, parts: int) -> str:
    """What is asked about a case; `parts`: how many its proposal makes of a particle."""
    return "Several particles joined?" if parts > 2 else QUESTIONS[case.kind]


def answer_text(case: ReviewCase, parts: int) -> str:
    """What accepting a case does."""
    return f"Split into {parts} as drawn" if parts > 2 else ANSWERS[case.kind]


def listed(names: Sequence[str]) -> str:
    """Names in a row: “3”, “3 and 4”, “3, 4 and 6”; of many only the first ones."""
    if len(names) > MOST_NAMED:
        more = len(names) - MOST_NAMED + 1
        names = [*names[: MOST_NAMED - 1], f"{format_count(more)} more"]
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def particles_text(particles: Sequence[int]) -> str:
    """“Particle 512”, “Particles 12 and 47”."""
    noun = "Particle" if len(particles) == 1 else "Particles"
    return f"{noun} {listed([format_count(particle) for particle in particles])}"


def who_text(particles: Sequence[int], diameters_um: dict[int, float]) -> str:
    """Numbers and sizes of the particles of a case: “Particle 512 (214 µm)”."""
    from particleseg_app.units import format_micrometres

    names = []
    for particle in particles:
        size = diameters_um.get(particle)
        text = format_count(particle)
        names.append(text if size is None else f"{text} ({format_micrometres(size)})")
    noun = "Particle" if len(particles) == 1 else "Particles"
    return f"{noun} {listed(names)}"


def beside_text(cases: Sequence[ReviewCase]) -> str:
    """Other doubts about the particles shown: “Also here: 12 and 47 one particle? (23 %)”."""
    named = [
        f"{listed([format_count(n) for n in case.labels])} {_ALSO[case.kind]} "
        f"({likelihood_text(case.probability)})"
        for case in cases
    ]
    return f"Also here: {', '.join(named)}" if named else ""


def mending_text(particles: Sequence[int]) -> str:
    """The heading while particles are mended by hand."""
    count = len(particles)
    return "Mend a particle" if count == 1 else f"Mend {format_count(count)} particles"


def done_text(answered: int, doubtful: int) -> str:
    """How far one has come: “3 of 12 doubtful cases answered”."""
    if not doubtful:
        return f"No case reaches {likelihood_text(least_doubtful())}"
    if answered == doubtful:
        return f"All doubtful cases answered ({format_count(doubtful)})"
    noun = "case" if doubtful == 1 else "cases"
    return f"{format_count(answered)} of {format_count(doubtful)} doubtful {noun} answered"


def gone_texts(particles: Sequence[int], can_redo: bool) -> tuple[str, str]:
    """That particles are not there any more, and how they come back.

    They were deleted, or it was taken back that they were painted.
    """
    them = "it" if len(particles) == 1 else "them"
    what, step = ("taken back", "Redo (Ctrl+Shift+Z)") if can_redo else ("deleted", "Undo (Ctrl+Z)")
    return (
        f"{particles_text(particles)} {what}",
        f"{step} brings {them} back. To go on, choose a case in the list or a particle in the "
        "results.",
    )
