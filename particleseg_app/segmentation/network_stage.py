"""The network over a whole scan: tile by tile, blended, chunk by chunk to disk (000 §3.3.1).

Class probabilities are weighted by a Gaussian (a tile is surest in its middle) and summed as whole
numbers. Sums of whole numbers do not depend on their order, so neither chunk size nor an
interruption, nor the machine that does a chunk, can change a single voxel. Unlike the chunk
sampling of 000, no tile is predicted twice: what a chunk's tiles say of later chunks is kept in a
seam file until those are done (`chunk_sums`).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from particleseg_app.errors import RunError
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.chunk_sums import ChunkSums
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.tiles import Chunk
from particleseg_app.segmentation.working_scale import GreyVolume, read_at_working_scale
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    import torch

# Weight 1 and probability 1 make 2^20; 27 tiles on one voxel still fit into 32 bits.
FIXED_POINT = 1 << 20
SMALLEST_WEIGHT = 1e-3
GPU_BATCH = 8
STAGE_NAME = "Finding particles with the network"


class TilePredictor(Protocol):
    """What the stage needs of a model: see `models.Predictor`."""

    device: torch.device

    def predict(self, tiles: torch.Tensor) -> torch.Tensor: ...


def gaussian_weights(tile_shape: Shape) -> np.ndarray:
    """Blending weights, float32 (z, y, x): 1 in the middle, sigma an eighth of each edge."""
    weights = np.ones((1, 1, 1))
    for axis, length in enumerate(tile_shape):
        offset = (np.arange(length) - (length - 1) / 2) / (length / 8)
        along = np.exp(-0.5 * offset**2)
        weights = weights * np.expand_dims(along, tuple({0, 1, 2} - {axis}))
    return np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32)


class ChunkPredictor:
    """A model over the tiles of single chunks; knows nothing of files and of other chunks.

    One process has one of them for a run, also on the workers of a cluster. `read` may be called
    from a thread while `sums` works on another chunk; `sums` is called by one thread at a time.
    """

    def __init__(
        self, plan: NetworkPlan, scan: GreyVolume, scaling: GreyScaling, predictor: TilePredictor
    ) -> None:
        import torch

        self.plan = plan
        self.scan = scan
        self.scaling = scaling
        self.predictor = predictor
        self.batch = GPU_BATCH if predictor.device.type == "cuda" else 1
        weights = torch.from_numpy(gaussian_weights(plan.tile_shape) * FIXED_POINT)
        self._weights = weights.to(predictor.device)

    def read(self, chunk: Chunk) -> torch.Tensor:
        """Normalised grey values of `chunk.reach` at working scale, on the device."""
        return read_at_working_scale(
            self.scan, self.plan.working_shape, chunk.reach, self.scaling, self.predictor.device
        )

    def sums(
        self, chunk: Chunk, grey: torch.Tensor, progress: Progress, cancel: CancelToken
    ) -> np.ndarray:
        """Weighted probabilities of the chunk's tiles, int32 (class, z, y, x) over its reach.

        `progress` advances by each tile. Raises `Cancelled`, and `RunError` without enough memory
        for a single tile.
        """
        import torch

        sums = torch.zeros((3, *chunk.reach.shape), dtype=torch.int32, device=self.predictor.device)
        first = 0
        while first < len(chunk.tiles):
            cancel.check()
            starts = chunk.tiles[first : first + self.batch]
            boxes = [
                Box(start, tuple(a + n for a, n in zip(start, self.plan.tile_shape, strict=True)))  # type: ignore[arg-type]
                for start in starts
            ]
            tiles = torch.stack([grey[box.within(chunk.reach)] for box in boxes])[:, None]
            try:
                shares = self.predictor.predict(tiles)
            except torch.OutOfMemoryError:
                self._take_smaller_batch(progress)
                continue
            for box, share in zip(boxes, shares, strict=True):
                part = torch.round(share * self._weights).int()
                sums[(slice(None), *box.within(chunk.reach))] += part
            first += len(starts)
            progress.advance(len(starts))
        return sums.cpu().numpy()

    def _take_smaller_batch(self, progress: Progress) -> None:
        import torch

        if self.batch == 1:
            raise RunError(
                "The graphics card has too little free memory for this model.",
                "Close other programs that use it, or choose the processor as device.",
            )
        self.batch //= 2
        torch.cuda.empty_cache()
        tiles = "tile" if self.batch == 1 else "tiles"
        progress.note(
            "The graphics card ran out of memory; the run goes on with "
            f"{self.batch} {tiles} at a time."
        )


@dataclass
class NetworkStage:
    """The network stage of one run on this machine; `run` does what is not yet done."""

    plan: NetworkPlan
    scan: GreyVolume
    scaling: GreyScaling
    predictor: TilePredictor
    folder: Path

    def __post_init__(self) -> None:
        self.files = ChunkSums(self.folder, self.plan)
        self.chunks = ChunkPredictor(self.plan, self.scan, self.scaling, self.predictor)

    def run(self, progress: Progress, cancel: CancelToken) -> ClassPieces:
        """Predict all chunks that are missing; a later call goes on where this one ended."""
        missing = begin(self.files, progress)
        with _reading_ahead() as executor:
            upcoming = self._read(executor, missing[0]) if missing else None
            for position, chunk in enumerate(missing):
                assert upcoming is not None
                grey = upcoming.result()
                following = position + 1 < len(missing)
                upcoming = self._read(executor, missing[position + 1]) if following else None
                sums = self.chunks.sums(chunk, grey, progress, cancel)
                # In order, so that every earlier chunk is predicted and this one can be closed.
                self.files.hand_on(chunk, sums)
                self.files.close(chunk, sums)
        # What workers of a cluster had predicted before the run was continued here.
        for index in self.files.ready():
            cancel.check()
            self.files.close(self.plan.chunks[index])
        return self.files.pieces

    def _read(self, executor: ThreadPoolExecutor, chunk: Chunk) -> Future[torch.Tensor]:
        return executor.submit(self.chunks.read, chunk)


def begin(files: ChunkSums, progress: Progress) -> list[Chunk]:
    """Tidy up after an earlier attempt; the chunks that are not predicted, in order."""
    files.folder.mkdir(parents=True, exist_ok=True)
    files.remove_spent()
    chunks = files.plan.chunks
    missing = [chunk for chunk in chunks if not files.predicted(chunk.index)]
    tiles = files.plan.tile_count
    done = tiles - sum(len(chunk.tiles) for chunk in missing)
    progress.start(STAGE_NAME, total=tiles, unit="tiles", done=done)
    return missing


@contextmanager
def _reading_ahead() -> Iterator[ThreadPoolExecutor]:
    """One thread that reads the next chunk while the network works on this one."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
