"""Windows of a scan around doubtful particles, predicted twice more.

The classes of a run are gone when it is finished. So windows of the scan at working scale are
predicted again: once mirrored along all axes, once shifted by a few voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from particleseg_app.errors import CardError
from particleseg_app.models import GreyScaling
from particleseg_app.review.crops import Volume
from particleseg_app.review.evidence import Point
from particleseg_app.segmentation.border_core import CORE
from particleseg_app.segmentation.bounded_reading import read_bounded
from particleseg_app.segmentation.core_unions import UnionRule, with_grades
from particleseg_app.segmentation.failures import check_numbers, is_of_card
from particleseg_app.segmentation.network_stage import TilePredictor, gaussian_weights
from particleseg_app.segmentation.parts_in_memory import united_parts
from particleseg_app.segmentation.tiles import tile_starts
from particleseg_app.units import Box, Shape

# The network halves its grid four times; a shift by no multiple of 16 makes it see another one.
SHIFT = 5
# Probabilities nearer to 0 and 1 than this say no more than it.
_LEAST = np.float32(3e-4)


@dataclass(frozen=True)
class Window:
    """A box at working scale, predicted twice. `shares` (2, 3, z, y, x) class probabilities,
    `labels` the run's particles there, `parts` the particles that each prediction gives.
    """

    box: Box
    shares: np.ndarray
    labels: np.ndarray
    parts: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """ln(p core / (1 - p core)), the mean of both predictions, smoothed by one voxel."""
        from scipy import ndimage

        core = self.shares[:, CORE]
        margin = np.log(core + _LEAST) - np.log1p(_LEAST - core)
        return ndimage.gaussian_filter(margin.mean(axis=0), 0.7)


class SecondLook:
    """Predicts windows of one scan again, with the model and the scale of its run."""

    def __init__(
        self,
        scan: Volume,
        labels: Volume,
        working_shape: Shape,
        tile: Shape,
        scaling: GreyScaling,
        predictor: TilePredictor,
        on_processor: Callable[[], TilePredictor] | None = None,
        union_rule: UnionRule | None = None,
        of_scan: np.ndarray | None = None,
    ) -> None:
        """`on_processor` makes the predictor that takes over where a graphics card fails.

        With a `union_rule` parts of one particle are united as in runs of the model; a window does
        not know all contacts of the scan, so `of_scan` are its figures of them (`scan_figures`).
        """
        self.scan, self.labels = scan, labels
        self.working_shape, self.tile = working_shape, tile
        self.scaling, self.predictor = scaling, predictor
        self._on_processor = on_processor
        self._union_rule, self._of_scan = union_rule, of_scan

    def to_working(self, box: Box) -> Box:
        """The box at working scale that holds a box of the scan."""
        start, stop = [], []
        for a, b, n, w in zip(
            box.start, box.stop, self.scan.shape, self.working_shape, strict=True
        ):
            start.append(max(0, min(w - 1, a * w // n)))
            stop.append(max(start[-1] + 1, min(w, -(-b * w // n))))
        return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]

    def to_scan(self, point: Point) -> Point:
        """A point at working scale in voxels of the scan, inside it."""
        z, y, x = (
            min(n - 1.0, max(0.0, (p + 0.5) * n / w - 0.5))
            for p, n, w in zip(point, self.scan.shape, self.working_shape, strict=True)
        )
        return z, y, x

    def tiles(self, box: Box) -> int:
        """How many tiles the network has to predict for a window: what it costs."""
        count = 0
        for shift in (0, SHIFT):
            along = [
                len(_tile_starts(a, b, t, n, shift))
                for a, b, t, n in zip(
                    box.start, box.stop, self.tile, self.working_shape, strict=True
                )
            ]
            count += along[0] * along[1] * along[2]
        return count

    def window(self, box: Box) -> Window:
        """Predict `box`, at working scale; memory goes with its size.

        Raises `RunError` where the network's answer is no number.
        """
        try:
            return self._window(box)
        except (RuntimeError, CardError) as error:
            of_card = isinstance(error, CardError) or is_of_card(error)
            if self._on_processor is None or not of_card:
                raise
            self.predictor, self._on_processor = self._on_processor(), None
            return self._window(box)

    def _window(self, box: Box) -> Window:
        shares = np.stack([self._predict(box, False), self._predict(box, True)])
        check_numbers(bool(np.isfinite(shares).all()), self.predictor.device.type == "cuda")
        parts = np.stack([self._particles(share) for share in shares])
        return Window(box, shares.astype(np.float32), self._labels(box), parts)

    def _particles(self, shares: np.ndarray) -> np.ndarray:
        """Particles (int32) that a run makes of such shares; 0 also where there is no core."""
        import torch

        classes = shares.argmax(axis=0).astype(np.uint8)
        if self._union_rule is not None:
            factor = self._union_rule.core_factor
            graded = with_grades(torch.from_numpy(classes), torch.from_numpy(shares), factor)
            classes = graded.numpy()
        return united_parts(classes, self._union_rule, self._of_scan).astype(np.int32)

    def _predict(self, box: Box, shifted: bool) -> np.ndarray:
        """Class probabilities (3, z, y, x) of `box`: mirrored tiles, or tiles `SHIFT` further."""
        import torch

        along = [
            _tile_starts(a, b, t, n, SHIFT if shifted else 0)
            for a, b, t, n in zip(box.start, box.stop, self.tile, self.working_shape, strict=True)
        ]
        start = tuple(starts[0] for starts in along)
        stop = tuple(starts[-1] + t for starts, t in zip(along, self.tile, strict=True))
        wide = Box(start, stop)  # type: ignore[arg-type]
        grey = read_bounded(
            self.scan, self.working_shape, wide, self.scaling, self.predictor.device
        )
        weights = torch.from_numpy(gaussian_weights(self.tile)).to(self.predictor.device)
        sums = torch.zeros((3, *wide.shape), device=self.predictor.device)
        total = torch.zeros(wide.shape, device=self.predictor.device)
        axes = (2, 3, 4)
        for corner in itertools.product(*along):
            end = tuple(a + t for a, t in zip(corner, self.tile, strict=True))
            place = Box(corner, end).within(wide)  # type: ignore[arg-type]
            part = grey[place][None, None]
            share = self.predictor.predict(part if shifted else torch.flip(part, axes))
            if not shifted:
                share = torch.flip(share, axes)
            sums[(slice(None), *place)] += share[0] * weights
            total[place] += weights
        return (sums / total)[(slice(None), *box.within(wide))].cpu().numpy()

    def _labels(self, box: Box) -> np.ndarray:
        """The run's labels on the working grid: the nearest voxel of the scan."""
        index = self._nearest(box)
        own = Box(tuple(int(i[0]) for i in index), tuple(int(i[-1]) + 1 for i in index))  # type: ignore[arg-type]
        block = self.labels.read(own)
        return block[np.ix_(*(i - i[0] for i in index))]

    def _nearest(self, box: Box) -> list[np.ndarray]:
        """Along each axis the voxel of the scan that is nearest to each one of `box`."""
        index = []
        for axis in range(3):
            n, w = self.scan.shape[axis], self.working_shape[axis]
            places = np.arange(box.start[axis], box.stop[axis])
            index.append(np.minimum(n - 1, (2 * places + 1) * n // (2 * w)))
        return index

    def region_at_working_scale(self, region: np.ndarray, place: Box, box: Box) -> np.ndarray:
        """Which voxels of `box` (working scale) a region has: bool, of the shape of `place`."""
        index = [i - a for i, a in zip(self._nearest(box), place.start, strict=True)]
        inside = [(i >= 0) & (i < n) for i, n in zip(index, region.shape, strict=True)]
        found = region[
            np.ix_(*(np.clip(i, 0, n - 1) for i, n in zip(index, region.shape, strict=True)))
        ]
        return found & inside[0][:, None, None] & inside[1][:, None] & inside[2]


def _tile_starts(start: int, stop: int, tile: int, length: int, shift: int) -> list[int]:
    """Starts of tiles that cover [start, stop) of an axis of `length` voxels, moved by `shift`.

    One tile where that is enough, inside the volume as far as it can be: the same shape every
    time, because an engine prepares itself for one shape.
    """
    if stop - start <= tile:
        middle = (start + stop - tile) // 2
        first = max(0, min(middle, length - tile))
        for moved in (first + shift, first - shift):
            if moved <= start and moved + tile >= stop and 0 <= moved <= max(0, length - tile):
                return [moved]
        return [first]
    return [start - shift + offset for offset in tile_starts(stop - start + shift, tile, tile // 4)]
