"""The network over a whole scan: tile by tile, blended, chunk by chunk to disk (000 §3.3.1).

Class probabilities are weighted by a Gaussian (a tile is surest in its middle) and summed as whole
numbers. Sums of whole numbers do not depend on their order, so neither chunk size nor an
interruption, nor the machine that does a chunk, can change a single voxel. Unlike the chunk
sampling of 000, no tile is predicted twice: what a chunk's tiles say of later chunks is kept in a
seam file until those are done (`chunk_sums`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.durable_files import make_folder
from particleseg_app.errors import CardError
from particleseg_app.models import GreyScaling, TilePredictor
from particleseg_app.models.devices import CardMemory
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import BackgroundTest
from particleseg_app.segmentation.bounded_reading import read_bounded
from particleseg_app.segmentation.card_stream import CardStream, Pace, mark, used_here
from particleseg_app.segmentation.chunk_sums import ChunkSums
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.failures import check_numbers
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.tiles import Chunk
from particleseg_app.segmentation.working_scale import GreyVolume
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    import torch

# Weight 1 and probability 1 make 2^20; 27 tiles on one voxel still fit into 32 bits.
FIXED_POINT = 1 << 20
SMALLEST_WEIGHT = 1e-3
MOST_TILES_AT_ONCE = 16
# Of the free memory of a card; the rest is for what other programs do meanwhile.
SHARE_OF_FREE_MEMORY = 0.7
STAGE_NAME = "Finding particles with the network"


def gaussian_weights(tile_shape: Shape) -> np.ndarray:
    """Blending weights, float32 (z, y, x): 1 in the middle, sigma an eighth of each edge."""
    weights = np.ones((1, 1, 1))
    for axis, length in enumerate(tile_shape):
        offset = (np.arange(length) - (length - 1) / 2) / (length / 8)
        along = np.exp(-0.5 * offset**2)
        weights = weights * np.expand_dims(along, tuple({0, 1, 2} - {axis}))
    return np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class ChunkAnswer:
    """What a network says of a chunk, on its device, which may still be computing.

    `sums`: weighted probabilities, int32 (class, z, y, x) over the chunk's reach. `background`:
    how many tiles were not predicted. `numbers`: bool (), whether every probability was a number.
    """

    sums: torch.Tensor
    background: int
    numbers: torch.Tensor

    def check(self) -> None:
        """Raise `RunError` where a probability was none; waits for the device."""
        check_numbers(bool(self.numbers), self.sums.is_cuda)


class ChunkPredictor:
    """A model over the tiles of single chunks; knows nothing of files and of other chunks.

    One process has one of them for a run, also on the workers of a cluster. `read` may be called
    from a thread while `sums` works on another chunk; `sums` is called by one thread at a time.
    With a `background` test, tiles that are certainly background are not predicted.
    """

    def __init__(
        self,
        plan: NetworkPlan,
        scan: GreyVolume,
        scaling: GreyScaling,
        predictor: TilePredictor,
        background: BackgroundTest | None = None,
    ) -> None:
        import torch

        self.plan = plan
        self.scan = scan
        self.scaling = scaling
        self.predictor = predictor
        self.background = background
        # None until it is known how many tiles fit a graphics card.
        self.batch: int | None = None if predictor.device.type == "cuda" else 1
        # Seconds spent inside the network, of those that `sums` took.
        self.network_seconds = 0.0
        weights = torch.from_numpy(gaussian_weights(plan.tile_shape) * FIXED_POINT)
        self._weights = weights.to(predictor.device)
        # Used again for every tile: fresh memory of this size costs more than the arithmetic.
        self._weighted = torch.empty((3, *plan.tile_shape), device=predictor.device)
        self._whole = torch.empty_like(self._weighted, dtype=torch.int32)
        self._reading = CardStream(predictor.device)

    def read(self, chunk: Chunk) -> torch.Tensor:
        """Normalised grey values of `chunk.reach` at working scale, on the device."""
        with self._reading.work():
            return read_bounded(
                self.scan, self.plan.working_shape, chunk.reach, self.scaling, self.predictor.device
            )

    def sums(
        self, chunk: Chunk, grey: torch.Tensor, progress: Progress, cancel: CancelToken
    ) -> ChunkAnswer:
        """What the chunk's tiles say; `progress` advances by each tile.

        Raises `Cancelled`, and `RunError` without enough memory for a single tile.
        """
        import torch

        used_here(grey)
        self.fit_batch(grey)
        sums = torch.zeros((3, *chunk.reach.shape), dtype=torch.int32, device=self.predictor.device)
        boxes, background = self._parted(chunk, grey, cancel)
        certainly = torch.round(self._weights).int()
        for box in background:
            sums[(0, *box.within(chunk.reach))] += certainly
        progress.advance(len(background))
        pace = Pace(self.predictor.device, progress)
        numbers = torch.ones((), dtype=torch.bool, device=self.predictor.device)
        first = 0
        while first < len(boxes):
            cancel.check()
            some = boxes[first : first + self._tiles_at_once(len(boxes) - first)]
            tiles = torch.stack([grey[box.within(chunk.reach)] for box in some])[:, None]
            try:
                shares = self._predict(tiles)
            except torch.OutOfMemoryError:
                self._take_smaller_batch(progress)
                continue
            # Of one class: where one is no number, none is.
            numbers &= torch.isfinite(shares[:, 0]).all()
            for box, share in zip(some, shares, strict=True):
                self._add(share, sums[(slice(None), *box.within(chunk.reach))])
            first += len(some)
            pace.given(len(some))
        pace.end()
        return ChunkAnswer(sums, len(background), numbers)

    def _parted(
        self, chunk: Chunk, grey: torch.Tensor, cancel: CancelToken
    ) -> tuple[list[Box], list[Box]]:
        """The boxes of the chunk's tiles: those to predict, and those that are background."""
        boxes = [
            Box(start, tuple(a + n for a, n in zip(start, self.plan.tile_shape, strict=True)))  # type: ignore[arg-type]
            for start in chunk.tiles
        ]
        if self.background is None:
            return boxes, []
        tiles = [grey[box.within(chunk.reach)] for box in boxes]
        certain = self.background.are_background(tiles, cancel).tolist()
        parted: tuple[list[Box], list[Box]] = ([], [])
        for box, is_background in zip(boxes, certain, strict=True):
            parted[is_background].append(box)
        return parted

    def _add(self, share: torch.Tensor, sums: torch.Tensor) -> None:
        """Add one tile's weighted probabilities (class, z, y, x) to its part of the sums."""
        import torch

        torch.mul(share, self._weights, out=self._weighted)
        sums.add_(self._whole.copy_(self._weighted.round_()))

    def _predict(self, tiles: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        shares = self.predictor.predict(tiles)
        self.network_seconds += time.perf_counter() - started
        return shares

    def fit_batch(self, grey: torch.Tensor) -> None:
        """Find out how many tiles go through a card together, by one tile of a chunk's `grey`.

        Done once, while nothing else takes memory of the card: what is read beside it would count.
        """
        import torch

        if self.batch is None:
            tile = grey[tuple(slice(n) for n in self.plan.tile_shape)]
            try:
                memory = CardMemory(self.predictor.device)
                peak = memory.peak_of(lambda: self._predict(tile[None, None]))
                room = SHARE_OF_FREE_MEMORY * memory.free()
                self.batch = int(max(1, min(MOST_TILES_AT_ONCE, room // max(1, peak))))
            except torch.OutOfMemoryError:
                self.batch = 1

    def _tiles_at_once(self, left: int) -> int:
        """How many of the tiles that are left go through the network together: a power of two.

        A card prepares itself for every new number of tiles, which takes longer than some tiles.
        """
        assert self.batch is not None
        return 1 << (min(self.batch, left).bit_length() - 1)

    def _take_smaller_batch(self, progress: Progress) -> None:
        import torch

        if self.batch is None or self.batch == 1:
            raise CardError(
                "The graphics card has too little free memory for this model.",
                "Close other programs that use it and continue the run, or continue it on the "
                "processor.",
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
    background: BackgroundTest | None = None
    title: str = STAGE_NAME

    def __post_init__(self) -> None:
        self.files = ChunkSums(self.folder, self.plan)
        self.chunks = ChunkPredictor(
            self.plan, self.scan, self.scaling, self.predictor, self.background
        )
        self._closing = CardStream(self.predictor.device)

    def run(self, progress: Progress, cancel: CancelToken) -> ClassPieces:
        """Predict all chunks that are missing; a later call goes on where this one ended.

        While the network works on a chunk, the next one is read and the one before is closed and
        written. At most one chunk waits on either side, so that memory stays bounded.
        """
        missing = begin(self.files, progress, self.title)
        with _in_background("read-ahead") as reader, _in_background("write-behind") as writer:
            upcoming = reader.submit(self.chunks.read, missing[0]) if missing else None
            written: Future[None] | None = None
            for position, chunk in enumerate(missing):
                assert upcoming is not None
                grey = upcoming.result()
                self.chunks.fit_batch(grey)
                following = position + 1 < len(missing)
                upcoming = (
                    reader.submit(self.chunks.read, missing[position + 1]) if following else None
                )
                answer = self.chunks.sums(chunk, grey, progress, cancel)
                predicted = mark(self.predictor.device)
                if written is not None:
                    written.result()
                # In order, so that every earlier chunk is predicted and this one can be closed.
                written = writer.submit(self._finish, chunk, answer, predicted)
                del grey, answer
            if written is not None:
                written.result()
        # What workers of a cluster had predicted before the run was continued here.
        for index in self.files.ready():
            cancel.check()
            self.files.close(self.plan.chunks[index])
        return self.files.pieces

    def _finish(
        self, chunk: Chunk, answer: ChunkAnswer, predicted: torch.cuda.Event | None
    ) -> None:
        with self._closing.work(after=predicted):
            answer.check()
            self.files.note_background(chunk, answer.background)
            self.files.hand_on(chunk, answer.sums)
            self.files.close(chunk, answer.sums)


def begin(files: ChunkSums, progress: Progress, title: str = STAGE_NAME) -> list[Chunk]:
    """Tidy up after an earlier attempt; the chunks that are not predicted, in order."""
    make_folder(files.folder)
    files.remove_spent()
    chunks = files.plan.chunks
    missing = [chunk for chunk in chunks if not files.predicted(chunk.index)]
    tiles = files.plan.tile_count
    done = tiles - sum(len(chunk.tiles) for chunk in missing)
    progress.start(title, total=tiles, unit="tiles", done=done)
    return missing


@contextmanager
def _in_background(name: str) -> Iterator[ThreadPoolExecutor]:
    """One thread beside the network. What it has begun is ended, so that nothing done is lost."""
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True)
