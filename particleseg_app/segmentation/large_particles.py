"""Particles several times as large as the average: seen whole at coarser scales, and completed.

The network sees a particle that is much larger than it is made for only in parts, and takes its
inside for matrix. So a scan is shown to it again as if its particles were larger, which costs a
thirtieth, and once more as long as still larger ones fit into the scan. What is one large particle
at the coarser scale, and has a hole at the finer one that is about as bright as particles are, is
completed there: its inside becomes core. Everything else stays as the finer scale has it, so that
small particles, which a coarser scale joins, are not touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.durable_files import make_folder, write_json
from particleseg_app.errors import NewRunError
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_grid import BlockGrid
from particleseg_app.segmentation.block_work import ClassesVolume
from particleseg_app.segmentation.border_core import BACKGROUND, BORDER, CORE
from particleseg_app.segmentation.bounded_reading import read_bounded
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.completed_classes import CompletedClasses, Inside, sampled
from particleseg_app.segmentation.core_unions import UnionRule
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.working_scale import GreyVolume
from particleseg_app.units import MAX_DIAMETER_VOXELS, Box, Shape
from particleseg_app.volumes import LabelVolume, open_labels

# Each coarser look is for particles this many times as large as those of the look before.
RATIO = 3.2
# From this many average diameters on a particle may have a hole.
LARGE = 2.2
# A coarser look needs a scan in which a few of its particles find room, along two axes.
_ROOM = 1.6
# Of the inside of a large particle: smaller holes are pores.
_LEAST_HOLE = 0.05
# How bright a hole is on the way from matrix (0) to particles (1), to be one of the network.
_AS_BRIGHT = 0.6
LOOKING_FOR_LARGE = "Looking for large particles"
_BLOCK: Shape = (64, 64, 64)
_BINS = np.linspace(-6, 12, 721)
_DONE = "completed.json"


def coarser_settings(settings: RunSettings, scan_shape: Shape) -> list[RunSettings]:
    """Those of the coarser looks at a scan, the finest first; none where the scan is small."""
    found: list[RunSettings] = []
    room = sorted(scan_shape)[1]
    most = min(room / _ROOM, MAX_DIAMETER_VOXELS)
    while settings.particle_diameter_um * RATIO / settings.voxel_size_um <= most:
        settings = replace(settings, particle_diameter_um=settings.particle_diameter_um * RATIO)
        found.append(settings)
    return found


def completed_note(count: int) -> str:
    which = "One particle" if count == 1 else f"{count} particles"
    return f"{which} much larger than the average {'was' if count == 1 else 'were'} completed."


@dataclass(frozen=True)
class Completed:
    """The classes of a run, large particles completed, and how many these are."""

    classes: ClassesVolume
    count: int


def complete_large_particles(
    looks: Sequence[ClassesVolume],
    scan: GreyVolume,
    scaling: GreyScaling,
    target_diameter_voxels: float,
    union_rule: UnionRule | None,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int,
) -> Completed:
    """The first of the `looks`, completed from the others, each `RATIO` times coarser.

    What is found lies in `folder`, so that a call that is repeated goes on where it stopped.
    """
    coarser: ClassesVolume = looks[-1]
    count = 0
    for number in range(len(looks) - 2, -1, -1):
        step = _Step(
            looks[number],
            coarser,
            scan,
            scaling,
            target_diameter_voxels * LARGE / RATIO,
            union_rule,
            folder / f"large_{number}",
            progress,
            cancel,
            memory_limit_bytes,
        )
        inside = step.inside()
        count = inside.count
        coarser = CompletedClasses(looks[number], inside) if count else looks[number]
    return Completed(coarser, count)


@dataclass(frozen=True)
class _Step:
    """What one coarser look says of the inside of particles at the scale before it."""

    finer: ClassesVolume
    coarser: ClassesVolume
    scan: GreyVolume
    scaling: GreyScaling
    least_diameter: float
    union_rule: UnionRule | None
    folder: Path
    progress: Progress
    cancel: CancelToken
    memory_limit_bytes: int

    @property
    def _grid(self) -> BlockGrid:
        z, y, x = (min(a, b) for a, b in zip(_BLOCK, self.coarser.shape, strict=True))
        return BlockGrid(self.coarser.shape, (z, y, x))

    def inside(self) -> Inside:
        """Find it, or read what an earlier attempt has found."""
        grid = self._grid
        boxes = [grid.box(number) for number in range(len(grid))]
        pieces = ClassPieces(self.folder, self.coarser.shape, boxes)
        done = self.folder / _DONE
        if not done.exists():
            make_folder(self.folder)
            written, count = self._find(pieces)
            write_json(done, {"count": count, "blocks": written})
        return Inside(pieces, *_recorded(done, len(boxes)))

    def _find(self, pieces: ClassPieces) -> tuple[list[int], int]:
        path = self.folder / "labels.h5"
        if not path.exists():
            particles_from_classes(
                self.coarser,
                self.coarser.shape,
                1.0,
                self.folder / "work",
                path,
                0.0,
                self.progress,
                self.cancel,
                union_rule=self.union_rule,
                memory_limit_bytes=self.memory_limit_bytes,
            )
        with open_labels(path) as labels:
            large = self._large(labels, pieces.boxes)
            blocks = [
                number
                for number, box in self._shown("Looking at large particles", pieces.boxes)
                if large.any() and large[labels.read(box)].any()
            ]
            surfaces = self._surfaces(labels, large, [pieces.boxes[number] for number in blocks])
            written = []
            for number in blocks:
                self.cancel.check()
                inside = self._inside_of(labels, surfaces, pieces.boxes[number])
                if inside.any():
                    pieces.write(number, inside)
                    written.append(number)
        return written, int(np.isfinite(surfaces).sum())

    def _shown(self, stage: str, boxes: list[Box]) -> Iterator[tuple[int, Box]]:
        self.progress.start(stage, total=len(boxes), unit="blocks")
        for number, box in enumerate(boxes):
            self.cancel.check()
            yield number, box
            self.progress.advance()

    def _large(self, labels: LabelVolume, boxes: list[Box]) -> np.ndarray:
        """Which labels are large, bool (count + 1,)."""
        voxels = np.zeros(labels.count + 1, np.int64)
        for box in boxes:
            self.cancel.check()
            voxels += np.bincount(labels.read(box).ravel(), minlength=voxels.size)
        large = voxels >= np.pi / 6 * self.least_diameter**3
        large[0] = False
        return np.asarray(large)

    def _surfaces(self, labels: LabelVolume, large: np.ndarray, boxes: list[Box]) -> np.ndarray:
        """For each large label with a hole that is no matrix the grey value of its surface, halfway
        to the matrix; infinity for all other labels."""
        core, hole, grey_of_hole = (np.zeros(large.size) for _ in range(3))
        matrix, particles = (np.zeros(_BINS.size - 1) for _ in range(2))
        for _, box in self._shown("Looking for holes in large particles", boxes):
            label, coarse = labels.read(box), self.coarser.read(box)
            fine = sampled(self.finer, box, self.coarser.shape)
            grey = self._grey(box)
            matrix += np.histogram(grey[(label == 0) & (fine == BACKGROUND)], _BINS)[0]
            particles += np.histogram(grey[fine == CORE], _BINS)[0]
            inside = large[label] & (coarse == CORE)
            empty = inside & (fine == BACKGROUND)
            core += np.bincount(label[inside], minlength=large.size)
            hole += np.bincount(label[empty], minlength=large.size)
            grey_of_hole += np.bincount(label[empty], grey[empty], large.size)
        surface = np.full(large.size, np.inf)
        if matrix.any() and particles.any():
            dark, bright = _median(matrix), _median(particles)
            grey_of_hole /= np.maximum(hole, 1)
            as_bright = grey_of_hole - dark > _AS_BRIGHT * max(bright - dark, 0)
            holed = (hole > _LEAST_HOLE * core) & as_bright
            surface[holed] = (grey_of_hole[holed] + dark) / 2
        return surface

    def _grey(self, box: Box) -> np.ndarray:
        import torch

        device = torch.device("cpu")
        grey = read_bounded(self.scan, self.coarser.shape, box, self.scaling, device)
        return grey.numpy()

    def _inside_of(self, labels: LabelVolume, surfaces: np.ndarray, box: Box) -> np.ndarray:
        """`Inside` of one block. Next to the surface the grey value decides, and only where the
        finer scale has nothing: where it sees the surface, it sees it better."""
        from scipy import ndimage

        wide = box.expanded(1, self.coarser.shape)
        label = labels.read(wide)
        even = ndimage.minimum_filter(label, 3) == ndimage.maximum_filter(label, 3)
        own = box.within(wide)
        label, even = label[own], even[own]
        surface = surfaces[label]
        holed = np.isfinite(surface)
        if not holed.any():
            return np.zeros(box.shape, np.uint8)
        core = self.coarser.read(box) == CORE
        missed = sampled(self.finer, box, self.coarser.shape) == BACKGROUND
        filled = core | even | (missed & (self._grey(box) > surface))
        return np.where(holed & filled, np.where(core, CORE, BORDER), 0).astype(np.uint8)


def _recorded(path: Path, blocks: int) -> tuple[frozenset[int], int]:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        written = frozenset(int(number) for number in raw["blocks"])
        count = int(raw["count"])
        if not all(0 <= number < blocks for number in written):
            raise ValueError(written)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise NewRunError(f"{path} is damaged.", "Remove this run and start it again.") from error
    return written, count


def _median(counts: np.ndarray) -> float:
    middle = np.searchsorted(np.cumsum(counts), counts.sum() / 2)
    return float((_BINS[middle] + _BINS[middle + 1]) / 2)
