"""What the tiles of the chunks add up to, on its way from the network to classes.

The tiles of a chunk reach into later chunks. What they say there is kept in a seam file until the
later chunk is closed: its own sums and all seams are added and the classes decided. Sums are whole
numbers, so chunks may be predicted in any order, by any process that sees the folder.

seam_<source>_<target>.npy   sums of one chunk's tiles inside a later chunk
sums_<chunk>.npy             sums inside the chunk itself, written last: the chunk is predicted
background_<chunk>.json      how many of its tiles were background; absent means none
classes_<chunk>.npy          the chunk is closed (see `class_pieces`)
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.durable_files import write_json
from particleseg_app.errors import NewRunError
from particleseg_app.segmentation.border_core import BORDER
from particleseg_app.segmentation.card_stream import HostCopies
from particleseg_app.segmentation.class_pieces import ClassPieces, write_array
from particleseg_app.segmentation.core_unions import with_grades
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.tiles import Chunk

if TYPE_CHECKING:
    import torch


class ChunkSums:
    """The files of one network stage. Sums are int32 (class, z, y, x) at working scale."""

    def __init__(self, folder: Path, plan: NetworkPlan) -> None:
        self.folder = folder
        self.plan = plan
        self.pieces = class_pieces(folder, plan)
        self._host = HostCopies()

    def predicted(self, index: int) -> bool:
        """Whether the network has nothing more to do for this chunk."""
        return self.pieces.finished(index) or self._sums(index).exists()

    def ready(self) -> list[int]:
        """Predicted chunks, in order, that can be closed: so is every chunk that reaches in."""
        predicted = [self.predicted(chunk.index) for chunk in self.plan.chunks]
        return [
            chunk.index
            for chunk in self.plan.chunks
            if predicted[chunk.index]
            and not self.pieces.finished(chunk.index)
            and all(predicted[source] for source in self.sources[chunk.index])
        ]

    def keep(self, chunk: Chunk, sums: np.ndarray) -> None:
        """Store the sums over `chunk.reach`; the chunk then counts as predicted."""
        self.hand_on(chunk, sums)
        own = sums[(slice(None), *chunk.box.within(chunk.reach))]
        write_array(self._sums(chunk.index), np.ascontiguousarray(own))

    def note_background(self, chunk: Chunk, tiles: int) -> None:
        """Remember how many tiles of a chunk were not predicted."""
        if tiles:
            write_json(self._background(chunk.index), {"tiles": tiles})

    def background_tiles(self) -> int:
        """How many tiles of all chunks predicted so far were background."""
        counts = 0
        for chunk in self.plan.chunks:
            path = self._background(chunk.index)
            if path.exists() and self.predicted(chunk.index):
                counts += int(json.loads(path.read_text(encoding="utf-8"))["tiles"])
        return counts

    def hand_on(self, chunk: Chunk, sums: torch.Tensor | np.ndarray) -> None:
        """Store what the sums over `chunk.reach` say of later chunks."""
        import torch

        sums = torch.as_tensor(sums)
        for target in self.targets[chunk.index]:
            shared = chunk.reach.intersection(self.plan.chunks[target].box)
            part = sums[(slice(None), *shared.within(chunk.reach))]
            write_array(self._seam(chunk.index, target), self._host.array(part))

    def close(self, chunk: Chunk, sums: torch.Tensor | np.ndarray | None = None) -> None:
        """Decide the classes of a chunk that is ready, and remove what is no longer needed.

        `sums` are those over `chunk.reach`, where they were handed on but not kept. They are
        changed: what other chunks say is added in place, on the device they are on.
        """
        import torch

        if sums is None:
            total = torch.from_numpy(self._read(self._sums(chunk.index), (3, *chunk.box.shape)))
        else:
            total = torch.as_tensor(sums)[(slice(None), *chunk.box.within(chunk.reach))]
        for source in self.sources[chunk.index]:
            shared = self.plan.chunks[source].reach.intersection(chunk.box)
            seam = self._read(self._seam(source, chunk.index), (3, *shared.shape))
            part = torch.from_numpy(seam).to(total.device)
            total[(slice(None), *shared.within(chunk.box))] += part
        self.pieces.write(
            chunk.index, self._host.array(decided_classes(total, self.plan.core_factor))
        )
        for source in self.sources[chunk.index]:
            self._seam(source, chunk.index).unlink(missing_ok=True)
        self._sums(chunk.index).unlink(missing_ok=True)

    def remove_spent(self) -> None:
        """Remove what a killed process left: files of closed chunks, seams of unfinished ones."""
        for path in self.folder.glob("seam_*.npy"):
            source, target = (int(part) for part in path.stem.split("_")[1:])
            if self.pieces.finished(target) or not self.predicted(source):
                path.unlink(missing_ok=True)
        for path in self.folder.glob("sums_*.npy"):
            if self.pieces.finished(int(path.stem.split("_")[1])):
                path.unlink(missing_ok=True)

    @cached_property
    def targets(self) -> list[list[int]]:
        """For each chunk the later ones that its tiles reach into."""
        chunks = self.plan.chunks
        return [
            [
                later.index
                for later in chunks[chunk.index + 1 :]
                if chunk.reach.intersection(later.box).size
            ]
            for chunk in chunks
        ]

    @cached_property
    def sources(self) -> list[list[int]]:
        """For each chunk the earlier ones whose tiles reach into it."""
        sources: list[list[int]] = [[] for _ in self.plan.chunks]
        for source, targets in enumerate(self.targets):
            for target in targets:
                sources[target].append(source)
        return sources

    def _background(self, index: int) -> Path:
        return self.folder / f"background_{index:06d}.json"

    def _seam(self, source: int, target: int) -> Path:
        return self.folder / f"seam_{source:06d}_{target:06d}.npy"

    def _sums(self, index: int) -> Path:
        return self.folder / f"sums_{index:06d}.npy"

    def _read(self, path: Path, shape: tuple[int, ...]) -> np.ndarray:
        try:
            sums: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise NewRunError(
                f"{path} is damaged.", "Remove this run and start it again."
            ) from error
        if sums.shape != shape or sums.dtype != np.int32:
            raise NewRunError(
                f"{path} does not fit the run.", "Remove this run and start it again."
            )
        return sums


def decided_classes(total: torch.Tensor, core_factor: int = 1) -> torch.Tensor:
    """The class with the largest sum, uint8 (z, y, x), of int32 (class, z, y, x).

    The order of the classes decides between equal sums: background before core and border.
    Comparisons say so on every device; the argmax of a graphics card may choose another one.
    Border that is nearly core has its grade added, and core must be so by `core_factor`
    (`core_unions`).
    """
    import torch

    background, core, border = total
    classes = (core > background).to(torch.uint8)
    classes[border > torch.maximum(background, core)] = BORDER
    return with_grades(classes, total, core_factor)


def class_pieces(folder: Path, plan: NetworkPlan) -> ClassPieces:
    """The classes that a network stage with this plan leaves in `folder`."""
    return ClassPieces(folder, plan.working_shape, [chunk.box for chunk in plan.chunks])
