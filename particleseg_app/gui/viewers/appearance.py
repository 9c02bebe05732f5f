"""What the particles of a run look like everywhere: what colours mean, and what is hidden."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.viewers.label_look import (
    ColourKey,
    LabelColouring,
    LabelLook,
    LabelVisibility,
)
from particleseg_app.gui.viewers.phase_colours import phase_colour
from particleseg_app.particles.phases import MAIN_PHASE, columns_of, phase_names

if TYPE_CHECKING:
    import pandas as pd

BY_PARTICLE, BY_SCORE, BY_PHASE = "particle", "review score", MAIN_PHASE
_NOT_COLOURED_BY = ("Particle", "Box")  # groups of columns that say nothing as a colour


@dataclass(frozen=True)
class ColourChoice:
    """Something particles can be coloured by; `group` puts those of one kind together.

    `missing` says how to get it where it is not there yet.
    """

    key: str
    title: str
    group: str
    missing: str = ""


NO_PHASES = ColourChoice(
    BY_PHASE,
    "Phase…",
    "Phases",
    "This run has no phases yet. Choose this to part its particles by their grey values.",
)


def expected_errors(path: Path) -> dict[int, float]:
    """Expected number of errors of each particle that a review queue names.

    The sum over its cases of their expected errors. Raises `ProjectError` for a bad file.
    """
    from particleseg_app.review.cases import read_cases

    errors: dict[int, float] = {}
    for case in read_cases(path):
        for label in case.labels:
            errors[label] = errors.get(label, 0.0) + case.expected_errors
    return errors


class ParticleAppearance(QObject):
    """Signals: `changed` with the `LabelLook` to show, `choices_changed` when there are others."""

    changed = Signal(object)
    choices_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.look = LabelLook.plain()
        self.coloured_by = BY_PARTICLE
        self.only_in_table = False
        self._table: pd.DataFrame | None = None
        self._labels = np.zeros(0, np.int64)
        self._scores: dict[int, float] = {}
        self._hidden: set[int] = set()
        self._isolated: set[int] | None = None
        self._in_table: np.ndarray | None = None

    # --- of which particles --------------------------------------------------------------------

    def set_table(self, table: pd.DataFrame | None, *, mended: bool = False) -> None:
        """Particles of another run, all shown; or of the same after mends, new ones shown."""
        before = set(self._labels.tolist())
        phases_before = () if self._table is None else phase_names(self._table)
        self._table = table
        empty = np.zeros(0, np.int64)
        self._labels = empty if table is None else table["label"].to_numpy(dtype=np.int64)
        if not mended:
            self._hidden, self._isolated, self._scores = set(), None, {}
            self._in_table, self.only_in_table = None, False
        elif self._isolated is not None:
            self._isolated |= set(self._labels.tolist()) - before
        phases = () if table is None else phase_names(table)
        if mended and phases and phases != phases_before:
            self.coloured_by = BY_PHASE  # whoever asks for phases wants to see them
        if not self._can_colour_by(self.coloured_by):
            self.coloured_by = BY_PARTICLE
        self.choices_changed.emit()
        self._tell(colours=True)

    def set_scores(self, scores: dict[int, float]) -> None:
        """Expected errors of each particle, from the review queue; none for no queue."""
        self._scores = dict(scores)
        if self.coloured_by == BY_SCORE and not scores:
            self.coloured_by = BY_PARTICLE
        self.choices_changed.emit()
        self._tell(colours=self.coloured_by == BY_SCORE)

    def set_in_table(self, labels: np.ndarray) -> None:
        """The particles (n,) that pass the table's filter."""
        self._in_table = np.asarray(labels, np.int64)
        if self.only_in_table:
            self._tell()

    # --- colours -------------------------------------------------------------------------------

    def choices(self) -> list[ColourChoice]:
        """What the particles can be coloured by at present."""
        found = [ColourChoice(BY_PARTICLE, "Particle", "")]
        if self._scores:
            found.append(ColourChoice(BY_SCORE, "Expected errors", "Review"))
        if self._table is not None:
            columns = columns_of(self._table)
            if phase_names(self._table):
                found.append(ColourChoice(BY_PHASE, "Phase", "Phases"))
            else:
                found.append(NO_PHASES)
            found.extend(
                ColourChoice(column.name, column.title, column.group)
                for column in sorted(columns, key=lambda column: column.group != "Phases")
                if column.kind in ("whole", "real") and column.group not in _NOT_COLOURED_BY
            )
        return found

    def colour_by(self, key: str) -> None:
        """``particle``, ``review score`` or the name of a column."""
        if not self._can_colour_by(key):
            raise ValueError(f"particles cannot be coloured by {key!r}")
        self.coloured_by = key
        self._tell(colours=True)

    def _can_colour_by(self, key: str) -> bool:
        return any(choice.key == key and not choice.missing for choice in self.choices())

    # --- hiding --------------------------------------------------------------------------------

    def hide(self, particles: Iterable[int]) -> None:
        self._hidden |= set(particles)
        self._tell()

    def isolate(self, particles: Iterable[int]) -> None:
        """Show these only, also those that were hidden."""
        wanted = set(particles)
        if wanted:
            self._isolated, self._hidden = wanted, set()
            self._tell()

    def show_all(self) -> None:
        self._hidden, self._isolated = set(), None
        self.only_in_table = False
        self._tell()

    def set_only_in_table(self, only: bool) -> None:
        """Hide the particles that the table's filter leaves out."""
        if only != self.only_in_table:
            self.only_in_table = only
            self._tell()

    @property
    def hidden_count(self) -> int:
        """How many of the particles are hidden."""
        return int(np.count_nonzero(~self.look.visibility.shows(self._labels)))

    # --- the look ------------------------------------------------------------------------------

    def _tell(self, *, colours: bool = False) -> None:
        colouring = self._colouring() if colours else self.look.colouring
        self.look = LabelLook(colouring, self._visibility())
        self.changed.emit(self.look)

    def _visibility(self) -> LabelVisibility:
        in_table = self._in_table if self.only_in_table else None
        if self._isolated is None and in_table is None:
            if not self._hidden:
                return LabelVisibility.all()
            return LabelVisibility((), list(self._hidden))
        shown = self._labels
        if self._isolated is not None:
            shown = shown[np.isin(shown, list(self._isolated))]
        if in_table is not None:
            shown = shown[np.isin(shown, in_table)]
        return LabelVisibility(shown, list(self._hidden), others=False)

    def _colouring(self) -> LabelColouring:
        if self._table is None or self.coloured_by == BY_PARTICLE:
            return LabelColouring.by_particle()
        if self.coloured_by == BY_SCORE:
            scores = np.array([self._scores.get(int(n), 0.0) for n in self._labels])
            return LabelColouring.by_value(self._labels, scores, "Expected errors", digits=2)
        if self.coloured_by == BY_PHASE:
            names = phase_names(self._table)
            entries = tuple((name, phase_colour(n)) for n, name in enumerate(names))
            codes = self._table[MAIN_PHASE].cat.codes.to_numpy()
            return LabelColouring.by_class(self._labels, codes, ColourKey("Main phase", entries))
        columns = columns_of(self._table)
        column = next(column for column in columns if column.name == self.coloured_by)
        return LabelColouring.by_value(
            self._labels,
            self._table[column.name].to_numpy(dtype=np.float64),
            column.title,
            column.unit,
            3,
        )
