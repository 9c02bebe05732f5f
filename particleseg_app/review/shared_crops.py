"""Crops that several contacts look at, read once, and what is found out about bodies in them.

One label that touches hundreds of others (a run that failed joins nearly everything) would
otherwise be read and measured anew for each of them.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import cached_property

import numpy as np

from particleseg_app.review.crops import Crop, Volume, read_crop
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.solidity import Hulled, hulled, thinning
from particleseg_app.units import Box

Slices = tuple[slice, slice, slice]

_MOST_CROPS = 8  # of 3 MB at most


class SharedBody:
    """A body that takes much of a crop: `peak` its largest distance to its own surface, in voxels
    of the crop, `hulled` what it adds to a hull. Each is found out when it is first asked for."""

    def __init__(self, mask: np.ndarray) -> None:
        self._mask = mask

    @cached_property
    def peak(self) -> float:
        return float(distance_inside(self._mask)[self._mask].max(initial=0.0))

    @cached_property
    def hulled(self) -> Hulled:
        step = thinning(self._mask.shape)
        return hulled(self._mask[::step, ::step, ::step]).spanned()


class SharedCrop:
    """A crop, read when it is first asked for; for many threads."""

    def __init__(self, labels: Volume, scan: Volume, box: Box) -> None:
        self.box = box
        self._labels, self._scan = labels, scan
        self._lock = threading.Lock()
        self._crop: Crop | None = None
        self._bodies: dict[int, SharedBody] = {}

    @property
    def crop(self) -> Crop:
        with self._lock:
            if self._crop is None:
                self._crop = read_crop(self._labels, self._scan, self.box)
            return self._crop

    def body(self, label: int) -> SharedBody:
        """A label of the crop, with all that was found out about it."""
        crop = self.crop
        with self._lock:
            if label not in self._bodies:
                body = SharedBody(crop.labels == label)
                _ = body.peak, body.hulled
                self._bodies[label] = body
            return self._bodies[label]

    def place(self, box: Box) -> Slices:
        """Where a box of the volume lies in the crop; no voxel of it that the crop has is left
        out."""
        crop = self.crop
        z, y, x = (
            slice(max(0, (a - c) // crop.stride), min(n, math.ceil((b - c) / crop.stride)))
            for a, b, c, n in zip(
                box.start, box.stop, crop.box.start, crop.labels.shape, strict=True
            )
        )
        return z, y, x


class SharedCrops:
    """The crops of one run that were asked for last."""

    def __init__(self, labels: Volume, scan: Volume) -> None:
        self._labels, self._scan = labels, scan
        self._crops: OrderedDict[Box, SharedCrop] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, box: Box) -> SharedCrop:
        """The crop of a box of the volume; not read here."""
        with self._lock:
            crop = self._crops.pop(box, None) or SharedCrop(self._labels, self._scan, box)
            self._crops[box] = crop
            if len(self._crops) > _MOST_CROPS:
                self._crops.popitem(last=False)
            return crop
