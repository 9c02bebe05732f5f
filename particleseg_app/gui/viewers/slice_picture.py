"""What one slice view shows, made from raw voxels: 8-bit greys and palette places, no Qt.

Only the region a view shows is made, at about the resolution of the screen, so the cost depends
on the view and not on the size of the scan. It runs in the reading thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from particleseg_app.gui.viewers.label_colours import overlay_indices
from particleseg_app.gui.viewers.label_look import LabelLook

Region = tuple[int, int, int, int]  # first row, end row, first column, end column, in voxels


@dataclass(frozen=True)
class SliceRequest:
    """A slice as one view wants it: which one, the part of it, and how it is to look.

    `grey_step` and `overlay_step` are voxels per pixel of the picture, `overlay_zoom` pixels per
    voxel (one of the two is 1). `window` are the grey values shown black and white. `transposed`
    exchanges rows and columns of the pictures, not of `region`. `look` says how particles are seen.
    """

    axis: int
    index: int
    region: Region | None = None
    grey_step: int = 1
    overlay_step: int = 1
    overlay_zoom: int = 1
    window: tuple[float, float] = (0.0, 255.0)
    selected: int = 0
    transposed: bool = False
    look: LabelLook = field(default_factory=LabelLook.plain)


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """A slice ready to be painted, with the raw voxels it came from.

    `grey` and `labels` are the whole raw slice, `grey_picture` and `overlay` its `region` as
    uint8, transposed if asked. Rows and columns of the raw slice and of `region` are the
    remaining axes in order: (y, x), (z, x) or (z, y). `grey_extent` and `overlay_extent` are the
    raw rows and columns that the pictures span.
    """

    request: SliceRequest
    grey: np.ndarray
    labels: np.ndarray | None
    region: Region
    grey_picture: np.ndarray
    grey_extent: tuple[int, int]
    overlay: np.ndarray | None
    overlay_extent: tuple[int, int]

    @property
    def axis(self) -> int:
        return self.request.axis

    @property
    def index(self) -> int:
        return self.request.index

    def values_at(self, row: int, column: int) -> tuple[float, int]:
        """Grey value and label of a voxel of the raw slice; what is hidden counts as background."""
        label = int(self.labels[row, column]) if self.labels is not None else 0
        if not self.request.look.visibility.shows_label(label):
            label = 0
        return float(self.grey[row, column]), label


def make_picture(
    request: SliceRequest, grey: np.ndarray, labels: np.ndarray | None
) -> SlicePicture:
    """Make the picture that `request` asks for from the raw slice(s)."""
    height, width = grey.shape
    top, bottom, left, right = request.region or (0, height, 0, width)
    top, bottom = max(0, min(top, height - 1)), max(1, min(bottom, height))
    left, right = max(0, min(left, width - 1)), max(1, min(right, width))
    region = (top, max(bottom, top + 1), left, max(right, left + 1))
    part = (slice(region[0], region[1]), slice(region[2], region[3]))
    grey_part = block_means(grey[part], request.grey_step)
    grey_picture = windowed(grey_part, *request.window)
    if request.transposed:
        grey_picture = np.ascontiguousarray(grey_picture.T)
    overlay = None
    overlay_extent = (0, 0)
    if labels is not None:
        sampled = sampled_labels(labels[part], request.overlay_step)
        overlay_extent = (
            sampled.shape[0] * request.overlay_step,
            sampled.shape[1] * request.overlay_step,
        )
        if request.overlay_zoom > 1:
            sampled = sampled.repeat(request.overlay_zoom, 0).repeat(request.overlay_zoom, 1)
        if request.transposed:
            sampled = np.ascontiguousarray(sampled.T)
        look = request.look
        sampled = look.visibility.only_shown(sampled)
        overlay = overlay_indices(sampled, request.selected, look.colouring.places)
    return SlicePicture(
        request=request,
        grey=grey,
        labels=labels,
        region=region,
        grey_picture=grey_picture,
        grey_extent=(
            grey_part.shape[0] * request.grey_step,
            grey_part.shape[1] * request.grey_step,
        ),
        overlay=overlay,
        overlay_extent=overlay_extent,
    )


def windowed(grey: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grey values as uint8: `low` and below 0, `high` and above 255; not-a-number is 0."""
    if grey.dtype == np.uint8 and (low, high) == (0, 255):
        return np.ascontiguousarray(grey)
    scale = 255.0 / max(high - low, 1e-12)
    result = np.multiply(grey, np.float32(scale), dtype=np.float32)
    result -= np.float32(low * scale - 0.5)
    if grey.dtype.kind == "f":
        np.nan_to_num(result, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(result, 0.0, 255.0, out=result)
    return result.astype(np.uint8)


def block_means(grey: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` × `step` pixels; the last row and column may cover fewer."""
    if step <= 1:
        return grey
    height, width = grey.shape
    missing = (-height % step, -width % step)
    if any(missing):
        grey = np.pad(grey, ((0, missing[0]), (0, missing[1])), mode="edge")
    rows, columns = grey.shape[0] // step, grey.shape[1] // step
    total = np.zeros((rows, columns), np.float32)
    for row in range(step):
        for column in range(step):
            total += grey[row::step, column::step]
    total /= step * step
    return total


def sampled_labels(labels: np.ndarray, step: int) -> np.ndarray:
    """Every `step`-th label of both axes, the middle one of each block where there is one."""
    if step <= 1:
        return np.ascontiguousarray(labels)
    rows = np.minimum(np.arange(0, labels.shape[0], step) + step // 2, labels.shape[0] - 1)
    columns = np.minimum(np.arange(0, labels.shape[1], step) + step // 2, labels.shape[1] - 1)
    return labels[np.ix_(rows, columns)]
