"""The numbering of slice files: natural order, missing numbers, series that got mixed up."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from particleseg_app.errors import ScanError

_NUMBER = re.compile(r"(\d+)")


def natural_key(path: Path) -> tuple[object, ...]:
    """Sort key that puts slice 9 before slice 10: texts and numbers of the name in turn."""
    parts = _NUMBER.split(path.name.lower())
    return tuple(int(p) if i % 2 else p for i, p in enumerate(parts)), path.name


@dataclass(frozen=True)
class _Name:
    path: Path
    texts: tuple[str, ...]  # one more than numbers
    numbers: tuple[str, ...]


def ordered_series(files: Sequence[Path], where: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files in slice order, and remarks; raise `ScanError` unless they are one whole series.

    `where` names the folder or choice in messages.
    """
    if len(files) < 2:
        return tuple(files), ()
    names = [_split(path) for path in files]
    _check_one_pattern(names, where)
    if not names[0].numbers:
        ordered = tuple(sorted(files, key=natural_key))
        return ordered, ("The file names hold no slice numbers; they are taken by alphabet.",)
    column = _counting_column(names, where)
    names.sort(key=lambda name: int(name.numbers[column]))
    step = _check_numbers(names, column, where)
    remarks = () if step == 1 else (f"The slices are numbered in steps of {step}.",)
    return tuple(name.path for name in names), remarks


def _split(path: Path) -> _Name:
    parts = _NUMBER.split(path.stem.lower())
    return _Name(path, tuple(parts[::2]), tuple(parts[1::2]))


def _pattern(name: _Name) -> str:
    return "#".join(name.texts)


def _check_one_pattern(names: list[_Name], where: str) -> None:
    if all(not name.numbers for name in names):
        return
    groups = Counter(_pattern(name) for name in names)
    if len(groups) == 1:
        return
    (usual, _), *_ = groups.most_common()
    odd = min((n for n in names if _pattern(n) != usual), key=lambda n: natural_key(n.path))
    example = min((n for n in names if _pattern(n) == usual), key=lambda n: natural_key(n.path))
    raise ScanError(
        f"{where} holds more than one series of files: {odd.path.name} does not belong to "
        f"{example.path.name} and its {groups[usual] - 1} companions.",
        "Move everything but the slices of one scan elsewhere.",
    )


def _counting_column(names: list[_Name], where: str) -> int:
    """Which number of the names counts the slices."""
    values = list(zip(*(tuple(int(n) for n in name.numbers) for name in names), strict=True))
    varying = [i for i, column in enumerate(values) if len(set(column)) > 1]
    if len(varying) == 1:
        return varying[0]
    if not varying:
        return len(values) - 1  # 1.tif beside 01.tif: reported as a slice that is there twice
    # Positions or times beside the slice number vary too: the one without gaps counts.
    different = [i for i in varying if len(set(values[i])) == len(names)]
    for i in reversed(different):
        column = sorted(values[i])
        if column[-1] - column[0] == len(names) - 1:
            return i
    if different:
        return min(different, key=lambda i: max(values[i]) - min(values[i]))
    series = min(varying, key=lambda i: len(set(values[i])))
    first, *others = sorted(names, key=lambda name: natural_key(name.path))
    other = next(n for n in others if n.numbers[series] != first.numbers[series])
    raise ScanError(
        f"{where} holds {len(set(values[series]))} numbered series: {first.path.name} and "
        f"{other.path.name} belong to different ones.",
        "Move everything but the slices of one scan elsewhere.",
    )


def _check_numbers(names: list[_Name], column: int, where: str) -> int:
    """Return the step of the numbers; raise `ScanError` for a number missing or there twice."""
    numbers = [int(name.numbers[column]) for name in names]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if 0 in steps:
        at = steps.index(0)
        raise ScanError(
            f"{where} holds slice {numbers[at]} twice: {names[at].path.name} and "
            f"{names[at + 1].path.name}.",
            "Keep only one of them.",
        )
    step = min(steps)
    if all(s == step for s in steps):
        return step
    (usual, often), *_ = Counter(steps).most_common()
    step = usual if often > len(steps) / 2 and all(s % usual == 0 for s in steps) else 1
    missing = sum(s // step - 1 for s in steps)
    at = next(i for i, s in enumerate(steps) if s != step)
    name = _name_with_number(names[at], column, numbers[at] + step)
    more = f" (and {missing - 1} more)" if missing > 1 else ""
    raise ScanError(
        f"{where} lacks slice {name}{more}: the numbers jump from {numbers[at]} to "
        f"{numbers[at + 1]}.",
        "Copy the missing slices into the folder, or move the slices on one side of the gap away.",
    )


def _name_with_number(name: _Name, column: int, number: int) -> str:
    parts = _NUMBER.split(name.path.name)
    parts[2 * column + 1] = str(number).zfill(len(name.numbers[column]))
    return "".join(parts)
