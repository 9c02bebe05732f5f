"""Numbers as people read them: bytes, durations, counts and measures."""

from __future__ import annotations

import math
import re

THIN_SPACE = "\u202f"
LENGTHS_IN_UM = {
    "": 1.0,
    "um": 1.0,  # any of the two signs µ is written u before it is looked for
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1000.0,
    "nm": 0.001,
}


def format_bytes(count: int | float) -> str:
    """Bytes with a decimal unit: 812 kB, 34 MB, 2.1 GB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            digits = 1 if unit in ("GB", "TB") and abs(value) < 99.5 else 0
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    raise AssertionError


def format_duration(seconds: float) -> str:
    """A duration rounded to what matters: 8 s, 3 min 20 s, 1 h 5 min, 2 days 3 h."""
    if not math.isfinite(seconds):
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(hours, 24)
    name = "day" if days == 1 else "days"
    return f"{days} {name} {hours} h" if hours else f"{days} {name}"


def format_rough_duration(seconds: float) -> str:
    """An expected duration, no more exact than it is known: about 40 s, about 12 min."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 5:
        return "a few seconds"
    if seconds < 60:
        return f"about {max(1, round(seconds / 5)) * 5} s"
    if seconds < 600:
        return f"about {math.ceil(seconds / 60)} min"
    if seconds < 3600:
        return f"about {math.ceil(seconds / 300) * 5} min"
    return f"about {format_duration(math.ceil(seconds / 600) * 600)}"


def format_count(count: int) -> str:
    """A count with thin spaces between thousands: 12 345."""
    return f"{count:,}".replace(",", THIN_SPACE)


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 particle, 12 particles."""
    return f"{format_count(count)} {one if count == 1 else many or one + 's'}"


def format_shape(shape: tuple[int, int, int]) -> str:
    """A volume's size (z, y, x) as people read it: width × height × slices."""
    z, y, x = shape
    return f"{x} × {y} × {z} voxels"


def format_measure(value: float, decimals: int) -> str:
    """A measured value with a fixed number of decimals and thin spaces between thousands."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.{decimals}f}".replace(",", THIN_SPACE)


def parse_number(text: str) -> float | None:
    """A number typed by a person, with point or comma as decimal mark; None if it is none.

    Spaces may part thousands (12 345), and nothing else: "5 5" is a slip, not 55.
    """
    cleaned = text.strip().replace(THIN_SPACE, " ").replace("\u00a0", " ")
    cleaned = re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "", cleaned)
    if cleaned.count(",") == 1 and "." not in cleaned:
        cleaned = cleaned.replace(",", ".")
    try:
        value = float(cleaned)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_length(text: str) -> float | None:
    """A length typed by a person, in µm: 5, 5,5 µm, 5um, 0.005 mm, 500 nm; None if it is none."""
    number, factor = split_length(text)
    value = parse_number(number)
    if value is None or factor is None:
        return None
    return float(f"{value * factor:.12g}")  # 0.0133 mm are 13.3 µm, not 13.299999999999999


def split_length(text: str) -> tuple[str, float | None]:
    """The number of a typed length, and how many µm its unit is: 1 without one, None for a word
    that is no unit of length."""
    match = re.fullmatch(r"(.*?[\d.,])\s*([^\W\d_]*)\.?", text.strip())
    if match is None:
        return text, 1.0
    unit = match[2].casefold().replace("\u03bc", "u")  # casefold makes one sign of both
    return match[1], LENGTHS_IN_UM.get(unit)
