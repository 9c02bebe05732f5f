"""How finely the 3D scene is drawn while it moves, chosen from how long frames really take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

FRAME_SECONDS = 0.045  # aimed at: more than 20 frames a second, with what Qt does beside drawing
FRAMES_JUDGED = 3
BARELY_SLOWER = 1.15  # than with the fewest dots: not worth having so few


@dataclass(frozen=True)
class Fineness:
    """How finely to draw.

    `picture` dots for each dot of the screen across and down, `scan` rays through the scan for
    each dot of the picture, and these in steps of `step` voxels.
    """

    picture: float = 1.0
    scan: float = 1.0
    step: float = 0.9

    @property
    def work(self) -> float:
        """Work on the dots of a frame, relative to other levels of what is shown."""
        return self.picture**2 * self.scan**2 / self.step


FULL = Fineness()
OF_PARTICLES = (FULL, Fineness(0.8), Fineness(0.65), Fineness(0.5))
# The scan first: it is soft anyway.
OF_SCAN = (
    FULL,
    Fineness(1.0, 0.7, 1.25),
    Fineness(1.0, 0.5, 1.6),
    Fineness(1.0, 0.4, 1.6),
    Fineness(1.0, 0.33, 2.0),
    Fineness(0.7, 0.4, 2.0),
    Fineness(0.5, 0.5, 2.0),
)


class DrawingPace:
    """Which of `levels`, from the finest to the coarsest, keeps frames within `frame_seconds`.

    While the scene moves it only ever becomes coarser, so that it never changes back and forth;
    what was learned is used when it moves the next time.
    """

    def __init__(
        self,
        levels: tuple[Fineness, ...],
        first: int = 0,
        frame_seconds: float = FRAME_SECONDS,
    ) -> None:
        self._levels = levels
        self._level = first
        self._aim = frame_seconds
        self._times: deque[float] = deque(maxlen=FRAMES_JUDGED)
        self._waits: deque[float] = deque(maxlen=FRAMES_JUDGED)

    @property
    def fineness(self) -> Fineness:
        return self._levels[self._level]

    def begin(self) -> Fineness:
        """The scene begins to move: how finely to draw it."""
        if len(self._times) == FRAMES_JUDGED:
            # As if all of the time went with the dots, so that it is soon enough.
            seconds, work = median(self._times), self.fineness.work
            while self._level and seconds * self._levels[self._level - 1].work / work < self._aim:
                self._level -= 1
        self._forget()
        return self.fineness

    def take(self, seconds: float, waited: float) -> Fineness:
        """A frame took `seconds`, in which its dots were waited for: how finely to draw the next.

        Only the wait becomes shorter with fewer dots. Where that does not help, it stays fine.
        """
        self._times.append(seconds)
        self._waits.append(waited)
        if len(self._times) < FRAMES_JUDGED or median(self._times) <= self._aim:
            return self.fineness
        work, waits = self.fineness.work, median(self._waits)
        rest = median(self._times) - waits
        expected = [rest + waits * level.work / work for level in self._levels]
        good_enough = max(self._aim, BARELY_SLOWER * expected[-1])
        level = next(k for k, time in enumerate(expected) if time <= good_enough)
        if level > self._level:
            self._level = level
            self._forget()
        return self.fineness

    def _forget(self) -> None:
        self._times.clear()
        self._waits.clear()
