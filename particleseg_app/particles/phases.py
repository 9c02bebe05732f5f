"""Phases: mineral classes that are told apart by their grey values inside particles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.particles.table import COLUMNS, Column

if TYPE_CHECKING:
    import pandas as pd

MOST_PHASES = 5
MAIN_PHASE = "main_phase"
GROUP = "Phases"
_NAMES = "phases"  # of the table's attributes: their names, darkest first
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Phases:
    """Names of the phases, darkest first, and the grey values between them, ascending.

    A voxel belongs to the phase whose number is how many thresholds lie below its grey value: a
    threshold itself still belongs to the darker phase. Raises `InvalidValueError` for what is
    not possible.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MOST_PHASES:
            raise InvalidValueError(
                f"{len(self.names)} phases are not possible.",
                f"Choose between 1 and {MOST_PHASES} phases.",
            )
        if len(self.thresholds) != len(self.names) - 1:
            raise InvalidValueError(
                f"{len(self.names)} phases need {len(self.names) - 1} thresholds between them, "
                f"not {len(self.thresholds)}.",
                "Give one name more than thresholds.",
            )
        if not all(math.isfinite(value) for value in self.thresholds):
            raise InvalidValueError("A threshold is not a number.", "Enter a grey value.")
        if any(a >= b for a, b in zip(self.thresholds, self.thresholds[1:], strict=False)):
            raise InvalidValueError(
                "The thresholds do not ascend.", "Put them in order, each above the one before."
            )
        seen: dict[str, str] = {}
        for name in self.names:
            word = _word(name)
            if not word or len(name) > _LONGEST_NAME:
                raise InvalidValueError(
                    f"“{name}” is not possible as the name of a phase.",
                    f"Use at least one letter or digit and at most {_LONGEST_NAME} characters.",
                )
            if word in seen:
                raise InvalidValueError(
                    f"The phases “{seen[word]}” and “{name}” cannot be told apart by name.",
                    "Give each phase a name of its own.",
                )
            seen[word] = name

    @staticmethod
    def numbered(thresholds: Sequence[float]) -> Phases:
        """Phases between these thresholds, named “Phase 1” (the darkest), “Phase 2”, ...."""
        names = tuple(f"Phase {number}" for number in range(1, len(thresholds) + 2))
        return Phases(names, tuple(float(value) for value in thresholds))

    @property
    def count(self) -> int:
        return len(self.names)


def share_column(name: str) -> str:
    """The name of the column with the share of a phase: `share_quartz` of “Quartz”."""
    return f"share_{_word(name)}"


def phase_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """What the phases add to the particle table: the main phase, and a share of each phase."""
    if not names:
        return ()
    shares = (
        Column(share_column(name), f"{name} share", "", "real", 3, GROUP,
               f"Share of the particle's voxels that belong to the phase “{name}”, 0 to 1; its rim "
               "is left out where enough is left.")
        for name in names
    )  # fmt: skip
    return (
        Column(MAIN_PHASE, "Main phase", "", "name", 0, GROUP,
               "The phase that holds the largest share of the particle."),
        *shares,
    )  # fmt: skip


def phase_names(table: pd.DataFrame) -> tuple[str, ...]:
    """The names of the phases that a table has columns of, darkest first; none without phases."""
    return tuple(table.attrs.get(_NAMES, ()))


def columns_of(table: pd.DataFrame) -> tuple[Column, ...]:
    """The descriptions of a table's columns, those of its phases last."""
    known = (*COLUMNS, *phase_columns(phase_names(table)))
    return tuple(column for column in known if column.name in table)


def with_phases(table: pd.DataFrame, shares: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """`table` with the columns of its phases; `shares` (rows, phases) in the order of its rows.

    Of phases with equal shares the darkest is the main one. `table` itself stays as it is.
    """
    import pandas as pd

    result = without_phases(table)
    attributes = dict(result.attrs)
    # Ordered, so that the phases sort by brightness and not by name.
    kind = pd.CategoricalDtype(list(names), ordered=True)
    main = shares.argmax(axis=1) if len(shares) else np.zeros(0, np.intp)
    added: dict[str, Any] = {MAIN_PHASE: pd.Categorical.from_codes(main, dtype=kind)}
    added |= {share_column(name): shares[:, k] for k, name in enumerate(names)}
    result = pd.concat([result, pd.DataFrame(added, index=result.index)], axis=1)
    result.attrs = {**attributes, _NAMES: list(names)}
    return result


def without_phases(table: pd.DataFrame) -> pd.DataFrame:
    """`table` without the columns of phases."""
    extra = [c.name for c in phase_columns(phase_names(table)) if c.name in table]
    result = table.drop(columns=extra)
    result.attrs = {key: value for key, value in table.attrs.items() if key != _NAMES}
    return result


def _word(name: str) -> str:
    """A name as part of a column's name: lower case, everything else than letters and digits _."""
    plain = "".join(c if c.isalnum() else " " for c in name.casefold())
    return "_".join(plain.split())
