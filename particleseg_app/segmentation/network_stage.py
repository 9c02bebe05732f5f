"""The network over a whole scan: tile by tile, blended, chunk by chunk to disk (000 §3.3.1).

Class probabilities are weighted by a Gaussian (a tile is surest in its middle) and summed as whole
numbers. Sums of whole numbers do not depend on their order, so neither chunk size nor an
interruption can change a single voxel. Unlike the chunk sampling of 000, no tile is predicted
twice: what a chunk's tiles say of later chunks is kept in a seam file until those are done.
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
from particleseg_app.segmentation.class_pieces import ClassPieces, write_array
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


@dataclass
class NetworkStage:
    """The network stage of one run; `run` does what is not yet done."""

    plan: NetworkPlan
    scan: GreyVolume
    scaling: GreyScaling
    predictor: TilePredictor
    folder: Path

    def __post_init__(self) -> None:
        self.pieces = class_pieces(self.folder, self.plan)
        self._batch = GPU_BATCH if self.predictor.device.type == "cuda" else 1

    def run(self, progress: Progress, cancel: CancelToken) -> ClassPieces:
        """Predict all chunks that are missing; a later call goes on where this one ended."""
        import torch

        self.folder.mkdir(parents=True, exist_ok=True)
        chunks = self.plan.chunks
        finished = [chunk for chunk in chunks if self.pieces.finished(chunk.index)]
        progress.start(
            "Finding particles with the network",
            total=self.plan.tile_count,
            unit="tiles",
            done=sum(len(chunk.tiles) for chunk in finished),
        )
        self._remove_spent_seams()
        weights = torch.from_numpy(gaussian_weights(self.plan.tile_shape) * FIXED_POINT)
        weights = weights.to(self.predictor.device)
        missing = [chunk for chunk in chunks if not self.pieces.finished(chunk.index)]
        with _reading_ahead() as executor:
            upcoming = self._read(executor, missing[0]) if missing else None
            for position, chunk in enumerate(missing):
                assert upcoming is not None
                grey = upcoming.result()
                following = position + 1 < len(missing)
                upcoming = self._read(executor, missing[position + 1]) if following else None
                self._predict_chunk(chunk, grey, weights, progress, cancel)
        return self.pieces

    def _read(self, executor: ThreadPoolExecutor, chunk: Chunk) -> Future[torch.Tensor]:
        return executor.submit(
            read_at_working_scale,
            self.scan,
            self.plan.working_shape,
            chunk.reach,
            self.scaling,
            self.predictor.device,
        )

    def _predict_chunk(
        self,
        chunk: Chunk,
        grey: torch.Tensor,
        weights: torch.Tensor,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        import torch

        sums = torch.zeros((3, *chunk.reach.shape), dtype=torch.int32, device=weights.device)
        first = 0
        while first < len(chunk.tiles):
            cancel.check()
            starts = chunk.tiles[first : first + self._batch]
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
                sums[(slice(None), *box.within(chunk.reach))] += torch.round(share * weights).int()
            first += len(starts)
            progress.advance(len(starts))
        self._finish_chunk(chunk, sums.cpu().numpy())

    def _take_smaller_batch(self, progress: Progress) -> None:
        import torch

        if self._batch == 1:
            raise RunError(
                "The graphics card has too little free memory for this model.",
                "Close other programs that use it, or choose the processor as device.",
            )
        self._batch //= 2
        torch.cuda.empty_cache()
        tiles = "tile" if self._batch == 1 else "tiles"
        progress.note(
            "The graphics card ran out of memory; the run goes on with "
            f"{self._batch} {tiles} at a time."
        )

    def _finish_chunk(self, chunk: Chunk, sums: np.ndarray) -> None:
        """Hand on what belongs to later chunks, add what earlier ones left, decide the classes."""
        for later in self.plan.chunks[chunk.index + 1 :]:
            shared = chunk.reach.intersection(later.box)
            if shared.size:
                part = sums[(slice(None), *shared.within(chunk.reach))]
                write_array(self._seam(chunk, later), np.ascontiguousarray(part))
        total = sums[(slice(None), *chunk.box.within(chunk.reach))].copy()
        for earlier in self.plan.chunks[: chunk.index]:
            shared = earlier.reach.intersection(chunk.box)
            if shared.size:
                seam = np.load(self._seam(earlier, chunk), allow_pickle=False)
                total[(slice(None), *shared.within(chunk.box))] += seam
        # The order of the classes decides between equal sums: background before core and border.
        self.pieces.write(chunk.index, np.argmax(total, axis=0))
        self._remove_spent_seams()

    def _seam(self, source: Chunk, target: Chunk) -> Path:
        return self.folder / f"seam_{source.index:06d}_{target.index:06d}.npy"

    def _remove_spent_seams(self) -> None:
        """Remove seams whose target is finished, and those of a chunk that must be done again."""
        for path in self.folder.glob("seam_*.npy"):
            source, target = (int(part) for part in path.stem.split("_")[1:])
            if self.pieces.finished(target) or not self.pieces.finished(source):
                path.unlink(missing_ok=True)


def class_pieces(folder: Path, plan: NetworkPlan) -> ClassPieces:
    """The classes that a network stage with this plan leaves in `folder`."""
    return ClassPieces(folder, plan.working_shape, [chunk.box for chunk in plan.chunks])


@contextmanager
def _reading_ahead() -> Iterator[ThreadPoolExecutor]:
    """One thread that reads the next chunk while the network works on this one."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
