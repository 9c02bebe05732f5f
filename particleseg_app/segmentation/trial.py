"""A run tried for a few seconds on its own scan, to foretell how long the whole of it will take.

Everything tried is what the run really does, on this machine and at its present load: grey values
are read, tiles predicted and blended, pieces written, particles separated and labels stored. No
constant measured elsewhere goes into the time.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from particleseg_app.models import ModelEntry, choose_inference, open_predictor
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.chunk_sums import ChunkSums
from particleseg_app.segmentation.core_unions import UnionRule
from particleseg_app.segmentation.network_input import NetworkInput
from particleseg_app.segmentation.network_stage import ChunkPredictor
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.threshold_stage import run_threshold_stage
from particleseg_app.segmentation.tiles import Chunk
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import GreyStatistics, Scan

# Tiles looked at for emptiness, and the seconds after which enough were looked at.
MOST_SAMPLED = 96
SAMPLING_S = 3.0
# How long the network is tried, in seconds, and how many tiles at the most.
NETWORK_S = 2.0
MOST_TILES = 8
# Edges of the piece on which particles are separated, at the scan's scale and at working scale.
SCAN_EDGE = 250
WORKING_EDGE = 224

# Measures the particles in a label file, with the grey values of the same piece.
Measure = Callable[[Path, "ScanPart"], object]


@dataclass(frozen=True)
class ScanPart:
    """A box of a scan that is read like a scan of its own."""

    scan: Scan
    start: Shape
    shape: Shape

    @property
    def statistics(self) -> GreyStatistics:
        return self.scan.statistics

    @property
    def dtype(self) -> np.dtype:
        return self.scan.dtype

    @property
    def field_of_view(self) -> None:
        """As if all of it was seen."""
        return None

    def read(self, box: Box) -> np.ndarray:
        return self.scan.read(box.moved(self.start))


@dataclass(frozen=True)
class NetworkTrial:
    """What the network stage was found to cost, in seconds, and the share of empty tiles."""

    to_begin: float
    per_tile: float
    per_look: float
    per_reach_voxel: float
    empty_share: float

    def seconds(self, plan: NetworkPlan) -> float:
        """The whole stage, as this machine goes on at the speed of the trial."""
        reach = sum(chunk.reach.size for chunk in plan.chunks)
        predicted = plan.tile_count * (1 - self.empty_share)
        return (
            self.to_begin
            + plan.tile_count * self.per_look
            + predicted * self.per_tile
            + reach * self.per_reach_voxel
        )


def try_network(
    shown: NetworkInput,
    plan: NetworkPlan,
    entry: ModelEntry,
    device_id: str,
    settings: RunSettings,
    cancel: CancelToken,
) -> tuple[NetworkTrial, np.ndarray]:
    """Predict a few tiles; also their classes, uint8 (z, y, x) at working scale.

    On the processor none is larger than the model's patch, because the user waits for them, and a
    voxel of a larger one takes the same time.
    """
    on_card = device_id.startswith("cuda")
    tried = plan if on_card else _with_small_tiles(plan, entry.card.patch_shape)
    inference = choose_inference(entry, device_id, settings.inference, cancel).inference
    started = time.perf_counter()
    predictor = open_predictor(entry, device_id, plan.mirroring, cancel, inference)
    chunks = ChunkPredictor(plan, shown.volume, shown.scaling, predictor, shown.background)
    grey = chunks.read(_one_tile_chunk(tried, plan.chunks[0].tiles[0]))
    predictor.predict(grey[None, None]).amax().item()
    warmed = time.perf_counter()
    cancel.check()
    predictor.predict(grey[None, None]).amax().item()
    second = time.perf_counter() - warmed
    to_begin = max(0.0, warmed - started - second)
    empty_share, per_look, pick = _look_for_empty_tiles(chunks, cancel)
    most = max(1, min(MOST_TILES, int(NETWORK_S / max(second, 1e-3))))
    chunk = _row_of_tiles(tried, pick, most)
    chunks = ChunkPredictor(tried, shown.volume, shown.scaling, predictor)
    with _trial_folder() as folder:
        files = ChunkSums(folder, replace(tried, chunks=(chunk,)))
        if on_card:
            # A card prepares itself for every new number of tiles: once in a run, not each time.
            warming = time.perf_counter()
            chunks.sums(chunk, chunks.read(chunk), Progress(), cancel).sums.amax().item()
            to_begin += time.perf_counter() - warming
        began = time.perf_counter()
        grey = chunks.read(chunk)
        was_read = time.perf_counter()
        sums = chunks.sums(chunk, grey, Progress(), cancel).sums
        int(sums[0, 0, 0, 0])
        was_predicted = time.perf_counter()
        files.close(chunk, sums)
        ended = time.perf_counter()
        classes = np.load(files.pieces.path(0), allow_pickle=False)
    beside = (was_read - began) + (ended - was_predicted)
    if on_card:
        # Reading and writing go on beside a graphics card; they count where they are the slower.
        beside = max(0.0, beside - (was_predicted - was_read))
    as_large = math.prod(plan.tile_shape) / math.prod(tried.tile_shape)
    trial = NetworkTrial(
        to_begin=to_begin,
        per_tile=as_large * (was_predicted - was_read) / len(chunk.tiles),
        per_look=per_look,
        per_reach_voxel=beside / chunk.reach.size,
        empty_share=empty_share,
    )
    return trial, classes


def try_particles(
    scan: Scan,
    classes: np.ndarray,
    factor: float,
    settings: RunSettings,
    union_rule: UnionRule | None,
    measure: Measure | None,
    cancel: CancelToken,
) -> float:
    """Seconds per voxel of the scan for separating particles, writing and measuring them.

    `classes` (any shape) are mirrored until they fill the piece that is tried.
    """
    edges = [
        int(min(SCAN_EDGE, WORKING_EDGE / factor, 2 * n / factor, length))
        for n, length in zip(classes.shape, scan.shape, strict=True)
    ]
    shape: Shape = (max(1, edges[0]), max(1, edges[1]), max(1, edges[2]))
    mirrored = np.pad(classes, [(0, n) for n in classes.shape], mode="symmetric")
    working = working_shape(shape, factor)
    volume = _Classes(np.ascontiguousarray(mirrored[tuple(slice(n) for n in working)]))
    part = _middle(scan, shape)

    def once(volume: _Classes, part: ScanPart) -> None:
        _separate(volume, part, factor, settings, union_rule, True, measure, cancel)

    # The first time compiled functions are loaded, which the run does only once.
    small: Shape = (min(24, shape[0]), min(24, shape[1]), min(24, shape[2]))
    few = working_shape(small, factor)
    once(_Classes(volume.values[tuple(slice(n) for n in few)]), _middle(scan, small))
    started = time.perf_counter()
    once(volume, part)
    return (time.perf_counter() - started) / math.prod(shape)


def try_threshold(
    scan: Scan, settings: RunSettings, measure: Measure | None, cancel: CancelToken
) -> float:
    """Seconds per voxel of the scan for a whole run of ThreshWater, from a piece in its middle."""
    threshold = settings.threshold
    if threshold is None:
        threshold = scan.statistics.matrix_and_particle_threshold()
    seconds = 0.0
    for edge in (24, SCAN_EDGE):
        shape = tuple(min(edge, n) for n in scan.shape)
        part = _middle(scan, shape)  # type: ignore[arg-type]
        with _trial_folder() as folder:
            started = time.perf_counter()
            classes = run_threshold_stage(
                part, settings, threshold, folder / "pieces", Progress(), cancel
            )
            _separate(classes, part, 1.0, settings, None, False, measure, cancel)
            seconds = (time.perf_counter() - started) / math.prod(shape)
    return seconds


def _separate(
    classes: object,
    part: ScanPart,
    factor: float,
    settings: RunSettings,
    union_rule: UnionRule | None,
    small_core_filter: bool,
    measure: Measure | None,
    cancel: CancelToken,
) -> None:
    with _trial_folder() as folder:
        particles_from_classes(
            classes,  # type: ignore[arg-type]
            part.shape,
            factor,
            folder / "work",
            folder / "labels.h5",
            settings.min_relative_volume,
            Progress(),
            cancel,
            small_core_filter=small_core_filter,
            union_rule=union_rule,
        )
        if measure is not None:
            measure(folder / "labels.h5", part)


@dataclass(frozen=True)
class _Classes:
    values: np.ndarray

    @property
    def shape(self) -> Shape:
        z, y, x = self.values.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


def _look_for_empty_tiles(
    chunks: ChunkPredictor, cancel: CancelToken
) -> tuple[float, float, Shape]:
    """Share of empty tiles, seconds for a look at one, and a tile that is not empty."""
    tiles = [tile for chunk in chunks.plan.chunks for tile in chunk.tiles]
    # In no order that could keep step with the rows of the scan, but always the same one.
    order = np.random.default_rng(0).permutation(len(tiles))[:MOST_SAMPLED]
    pick = tiles[len(tiles) // 2]
    if chunks.background is None:
        return 0.0, 0.0, pick
    empty, looked, spent, filled = 0, 0, 0.0, []
    started = time.perf_counter()
    for index in order:
        cancel.check()
        grey = chunks.read(_one_tile_chunk(chunks.plan, tiles[index]))
        before = time.perf_counter()
        if bool(chunks.background.is_background(grey)):
            empty += 1
        else:
            filled.append((float(grey.mean()), tiles[index]))
        spent += time.perf_counter() - before
        looked += 1
        if time.perf_counter() - started > SAMPLING_S:
            break
    filled.sort()
    if filled:
        pick = filled[len(filled) // 2][1]
    return empty / looked, spent / looked, pick


def _with_small_tiles(plan: NetworkPlan, patch_shape: Shape) -> NetworkPlan:
    """The plan with tiles of at most the model's patch, at the same places."""
    z, y, x = (min(n, patch) for n, patch in zip(plan.tile_shape, patch_shape, strict=True))
    return replace(plan, tile_shape=(z, y, x))


def _one_tile_chunk(plan: NetworkPlan, tile: Shape) -> Chunk:
    return _chunk_of(plan, [tile])


def _row_of_tiles(plan: NetworkPlan, pick: Shape, most: int) -> Chunk:
    """`pick` and tiles beside it in its chunk, at most `most`."""
    for chunk in plan.chunks:
        if pick in chunk.tiles:
            row = [tile for tile in chunk.tiles if tile[:2] == pick[:2]]
            first = max(0, min(row.index(pick), len(row) - most))
            return _chunk_of(plan, row[first : first + most])
    raise ValueError(f"{pick} is no tile of the plan")


def _chunk_of(plan: NetworkPlan, tiles: list[Shape]) -> Chunk:
    stop = tuple(a + n for a, n in zip(tiles[-1], plan.tile_shape, strict=True))
    box = Box(tiles[0], stop)  # type: ignore[arg-type]
    return Chunk(0, box, box, tuple(tiles))


def _middle(scan: Scan, shape: Shape) -> ScanPart:
    z, y, x = ((length - n) // 2 for length, n in zip(scan.shape, shape, strict=True))
    return ScanPart(scan, (z, y, x), shape)


@contextmanager
def _trial_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="particleseg-trial-") as name:
        yield Path(name)
