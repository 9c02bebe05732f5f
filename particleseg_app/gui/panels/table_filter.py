"""Filters of the particle table, typed as people say them: `diameter > 150`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.gui.formats import parse_number, split_length
from particleseg_app.particles import Column
from particleseg_app.particles.phases import MAIN_PHASE

if TYPE_CHECKING:
    import pandas as pd

# What people call a column when its title is longer.
SPOKEN_NAMES = {
    "particle": "label",
    "number": "label",
    "#": "label",
    "volume": "volume_um3",
    "voxels": "volume_voxels",
    "diameter": "equivalent_diameter_um",
    "size": "equivalent_diameter_um",
    "surface": "surface_area_um2",
    "area": "surface_area_um2",
    "edge": "touches_scan_edge",
    "grey": "grey_mean",
    "gray": "grey_mean",
    "z": "centroid_z_um",
    "y": "centroid_y_um",
    "x": "centroid_x_um",
}

YES_NO = {"yes": 1.0, "no": 0.0}

_COMPARISON = re.compile(r"^(?P<name>.+?)\s*(?P<sign><=|>=|≤|≥|<|>|=)\s*(?P<value>.+)$")
_RANGE = re.compile(
    r"^(?P<name>.+?)\s+(?P<low>[-+\d.,]+)\s*(?:\.\.|…|–|to)\s*(?P<high>[-+\d.,]+(?:\s*\D+)?)$"
)


@dataclass(frozen=True)
class Condition:
    """`minimum ≤ column ≤ maximum`; either limit may be open or absent. Or the column is `name`."""

    column: str
    minimum: float | None = None
    maximum: float | None = None
    strict_minimum: bool = False
    strict_maximum: bool = False
    name: str | None = None

    def mask(self, values: np.ndarray) -> np.ndarray:
        if self.name is not None:
            return np.asarray(values == self.name, dtype=bool)
        keep = np.ones(len(values), dtype=bool)
        if self.minimum is not None:
            keep &= values > self.minimum if self.strict_minimum else values >= self.minimum
        if self.maximum is not None:
            keep &= values < self.maximum if self.strict_maximum else values <= self.maximum
        return keep

    def text(self, word: str) -> str:
        """The condition as one would type it; `word` is what the column is called."""
        if self.name is not None:
            return f"phase = {self.name}"
        low, high = self.minimum, self.maximum
        if self.column in ("touches_scan_edge",) and low is not None and low == high:
            return f"edge = {'yes' if low else 'no'}"
        if low is not None and low == high:
            return f"{word} = {low:.12g}"
        if low is not None and high is not None:
            return f"{word} {low:.12g}..{high:.12g}"
        if low is not None:
            return f"{word} {'>' if self.strict_minimum else '>='} {low:.12g}"
        return f"{word} {'<' if self.strict_maximum else '<='} {high:.12g}"


@dataclass(frozen=True)
class TableFilter:
    """All conditions hold together; `hide_edge` leaves out particles cut by the scan's edge."""

    conditions: tuple[Condition, ...] = ()
    hide_edge: bool = False

    def rows(self, table: pd.DataFrame) -> np.ndarray:
        """Indices of the rows of `table` that pass, in the table's order."""
        keep = np.ones(len(table), dtype=bool)
        for condition in self.conditions:
            if condition.column not in table:  # of phases that are gone
                continue
            keep &= condition.mask(table[condition.column].to_numpy())
        if self.hide_edge and "touches_scan_edge" in table:
            keep &= ~table["touches_scan_edge"].to_numpy(dtype=bool)
        return np.flatnonzero(keep)


def parse_conditions(
    text: str, columns: Sequence[Column], phases: Sequence[str] = ()
) -> tuple[Condition, ...]:
    """Conditions of a typed filter; raise `InvalidValueError` saying which part is not understood.

    Parts are joined by `;`, `,` followed by a space, or `and`. A bare whole number means that
    particle, the name of one of the `phases` the particles of which it is the main one.
    """
    conditions = []
    for part in re.split(r"\s*;\s*|,\s+|\s+and\s+|\s*&\s*", text.strip(), flags=re.IGNORECASE):
        part = part.strip().rstrip(",")
        if part:
            conditions.append(_parse_condition(part, columns, phases))
    return tuple(conditions)


def _parse_condition(part: str, columns: Sequence[Column], phases: Sequence[str]) -> Condition:
    if _plain(part) in map(_plain, phases):
        return _of_phase(part, phases)
    if re.fullmatch(r"#?\s*\d+", part):
        label = float(part.lstrip("# "))
        return Condition("label", label, label)
    match = _COMPARISON.match(part)
    if match:
        if _plain(match["name"]) in ("phase", "main phase"):
            return _of_phase(match["value"], phases)
        column = _find_column(match["name"], columns)
        name, value = column.name, _value(match["value"], part, column)
        sign = match["sign"]
        if sign == "=":
            return Condition(name, value, value)
        if sign in (">", ">=", "≥"):
            return Condition(name, minimum=value, strict_minimum=sign == ">")
        return Condition(name, maximum=value, strict_maximum=sign == "<")
    match = _RANGE.match(part)
    if match:
        column = _find_column(match["name"], columns)
        unit = re.sub(r"^[-+\d.,]+", "", match["high"])  # said once, for both
        low, high = sorted(
            _value(text, part, column) for text in (match["low"] + unit, match["high"])
        )
        return Condition(column.name, low, high)
    raise InvalidValueError(
        f"“{part}” is not a filter.", "Write for example: diameter > 150, or sphericity 0.5..0.8"
    )


def _of_phase(text: str, phases: Sequence[str]) -> Condition:
    """The particles of one main phase, told by its name or, where that is “Phase 2”, by its
    number."""
    for name in phases:
        if _plain(text) in (_plain(name), _plain(name).removeprefix("phase ")):
            return Condition(MAIN_PHASE, name=name)
    if not phases:
        raise InvalidValueError("This run has no phases yet.", "Choose Phases… to find them.")
    raise InvalidValueError(
        f"There is no phase “{text.strip()}”.", f"Write one of: {', '.join(phases)}."
    )


def _value(text: str, part: str, column: Column) -> float:
    """The number of a condition in the column's unit; lengths, areas and volumes may have
    another: 0.2 mm, 0.01 mm³."""
    if column.kind == "yes_no" and _plain(text) in YES_NO:
        return YES_NO[_plain(text)]
    unit = column.unit
    plain = text.strip().replace("²", "2").replace("³", "3")
    dimension = {"µm": 1, "µm²": 2, "µm³": 3}.get(unit, 0)
    bare = parse_number(plain)
    if bare is not None:
        return bare
    match = re.fullmatch(r"(.*?[\d.])\s*([^\W\d_]+|%)\s*\^?([23]?)", plain)
    number = parse_number(match[1]) if match else None
    if match is None or number is None:
        raise InvalidValueError(f"“{part}” has no number.", "Write for example: diameter > 150")
    _, factor = split_length(f"1 {match[2]}") if match[2] != "%" else ("", None)
    if dimension and factor is not None and int(match[3] or 1) == dimension:
        return number * factor**dimension
    if unit and _plain(match[2] + match[3]) == _plain(unit):
        return number
    raise InvalidValueError(
        f"“{part}” has another unit than the column.",
        f"Write the number in {unit}." if unit else "Write the number without a unit.",
    )


def _find_column(name: str, columns: Sequence[Column]) -> Column:
    wanted = _plain(name)
    by_name = {column.name: column for column in columns}
    if SPOKEN_NAMES.get(wanted) in by_name:
        return by_name[SPOKEN_NAMES[wanted]]
    for column in columns:
        if wanted in (_plain(column.title), _plain(column.name)):
            return column
    fitting = [
        column
        for column in columns
        if _plain(column.title).startswith(wanted) or _plain(column.name).startswith(wanted)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        titles = [column.title for column in fitting]
        raise InvalidValueError(f"“{name}” could be {' or '.join(titles)}.", "Write more of it.")
    raise InvalidValueError(f"There is no column “{name}”.", "Try diameter, volume or sphericity.")


def _plain(name: str) -> str:
    return re.sub(r"[\s_().]+", " ", name).strip().casefold()
