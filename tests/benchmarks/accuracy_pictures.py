"""One picture per case: a slice with the reference and with what each method made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

from tests.benchmarks.accuracy_methods import Outcome, picture_slice
from tests.independent_scans import LabelledScan

PANEL = 330  # pixels
MARGIN, TITLE_HEIGHT = 6, 26
OVERSAMPLING = 2
REFERENCE, RIGHT, WRONG, MISSED = (255, 214, 64), (86, 196, 255), (255, 116, 31), (255, 64, 200)
BACKGROUND, TEXT = (250, 250, 250), (30, 30, 30)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _grey_panel(plane: np.ndarray, low: float, high: float) -> Image.Image:
    grey = np.clip((plane.astype(float) - low) / max(1e-9, high - low), 0, 1) ** 0.8 * 225
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    size = PANEL * OVERSAMPLING
    return picture.resize((size, size), Image.Resampling.BICUBIC)


def _outline(
    draw: ImageDraw.ImageDraw, plane: np.ndarray, label: int, colour: tuple[int, int, int],
    width: float = 1.6,
) -> None:  # fmt: skip
    rows, columns = np.nonzero(plane == label)
    low = np.array([rows.min(), columns.min()]) - 1
    mask = np.zeros((np.ptp(rows) + 3, np.ptp(columns) + 3))
    mask[rows - low[0], columns - low[1]] = 1
    zoom = PANEL * OVERSAMPLING / np.array(plane.shape)
    for line in find_contours(mask, 0.42):
        points = [tuple(p[::-1]) for p in (line + low + 0.5) * zoom]
        draw.line(points, fill=colour, width=round(width * OVERSAMPLING), joint="curve")


def _square(plane: np.ndarray) -> tuple[slice, slice]:
    """The largest square from the middle of a slice, at most 160 voxels, so contours stay clear."""
    edge = min(*plane.shape, 160)
    starts = [(n - edge) // 2 for n in plane.shape]
    return slice(starts[0], starts[0] + edge), slice(starts[1], starts[1] + edge)


def panel_of(path: Path, position: int) -> Image.Image | None:
    """Panel and title of the method at a position (from 0) in an earlier picture."""
    if not path.exists():
        return None
    with Image.open(path) as sheet:
        left = MARGIN + (position + 1) * (PANEL + MARGIN)
        if sheet.height != PANEL + TITLE_HEIGHT + MARGIN or left + PANEL > sheet.width:
            return None
        return sheet.crop((left, 0, left + PANEL, TITLE_HEIGHT + PANEL)).convert("RGB")


def case_picture(
    path: Path, case: LabelledScan, outcomes: list[tuple[str, Outcome | Image.Image]]
) -> None:
    """Write a JPEG with the reference and one panel per method, side by side.

    A method that was not run again is given by its panel of an earlier picture (`panel_of`).
    """
    z = picture_slice(case.labels)
    part = _square(case.labels[z])
    low, high = np.percentile(case.grey, [0.5, 99.7])
    reference = case.labels[z][part]
    grey = _grey_panel(case.grey[z][part], low, high)
    panels = [("Reference", grey.copy())]
    draw = ImageDraw.Draw(panels[0][1])
    for label in np.unique(reference[reference > 0]):
        _outline(draw, reference, int(label), REFERENCE)
    for title, outcome in outcomes:
        if isinstance(outcome, Image.Image):
            panels.append(("", outcome))
            continue
        panel = grey.copy()
        draw = ImageDraw.Draw(panel)
        plane = outcome.plane[part]
        for label in np.intersect1d(np.unique(reference), outcome.missed):
            _outline(draw, reference, int(label), MISSED, 1.0)
        right = set(outcome.right.tolist())
        for label in np.unique(plane[plane > 0]):
            _outline(draw, plane, int(label), RIGHT if int(label) in right else WRONG)
        panels.append((f"{title}  (F1_match {outcome.figures['f1_match']:.2f})", panel))
    width = len(panels) * (PANEL + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, PANEL + TITLE_HEIGHT + MARGIN), BACKGROUND)
    write = ImageDraw.Draw(sheet)
    for index, (title, panel) in enumerate(panels):
        left = MARGIN + index * (PANEL + MARGIN)
        if not title:
            sheet.paste(panel, (left, 0))
            continue
        write.text((left + 2, 5), title, fill=TEXT, font=_font(15))
        sheet.paste(panel.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (left, TITLE_HEIGHT))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=70, optimize=True, progressive=True)
