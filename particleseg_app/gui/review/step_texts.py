"""What stands in the history for each answer and tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

KIND_OF_ANSWER = {
    "merger": "split",
    "splitter": "merge",
    "false particle": "delete",
    "missed particle": "add",
}


def answer_text(case: ReviewCase) -> str:
    names = " and ".join(str(label) for label in case.labels)
    return {
        "merger": f"Particle {names} split",
        "splitter": f"Particles {names} joined",
        "false particle": f"Particle {names} deleted",
        "missed particle": "Missed particle added",
    }[case.kind]


def tool_text(tool: str, particles: Sequence[int]) -> str:
    names = ", ".join(str(label) for label in particles)
    one = f"Particle {names}" if len(particles) == 1 else f"Particles {names}"
    return {
        "split": f"{one} split by hand",
        "join": f"Particles {names} joined",
        "paint": f"{one} painted",
        "erase": f"{one} erased in part",
        "holes": f"Holes in {one.lower()} filled",
        "smooth": f"{one} smoothed",
        "grow": f"{one} fitted to the grey-value edge",
        "delete": f"{one} deleted",
    }[tool]
