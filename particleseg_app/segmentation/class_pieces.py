"""A volume of border-core classes on disk as one file per finished box, readable as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.durable_files import part_file
from particleseg_app.errors import NewRunError
from particleseg_app.units import Box, Shape


class ClassPieces:
    """uint8 classes (z, y, x): piece `i` covers `boxes[i]`; the boxes tile `shape`."""

    def __init__(self, folder: Path, shape: Shape, boxes: list[Box]) -> None:
        self.folder = folder
        self.shape = shape
        self.boxes = boxes

    def __reduce__(self) -> tuple[Any, ...]:
        return ClassPieces, (self.folder, self.shape, self.boxes)

    def path(self, index: int) -> Path:
        return self.folder / f"classes_{index:06d}.npy"

    def finished(self, index: int) -> bool:
        return self.path(index).exists()

    def write(self, index: int, classes: np.ndarray) -> None:
        """Store piece `index`; it is there as a whole or not at all."""
        write_array(self.path(index), np.ascontiguousarray(classes, dtype=np.uint8))

    def read(self, box: Box) -> np.ndarray:
        """Classes of any box, uint8 (z, y, x). All pieces that it touches must be finished."""
        result = np.empty(box.shape, np.uint8)
        for index, piece_box in enumerate(self.boxes):
            shared = box.intersection(piece_box)
            if shared.size:
                # Mapped, not read: a box with a halo touches up to 27 pieces, but few bytes of
                # most. Let go at once, for what is mapped counts as the program's memory.
                result[shared.within(box)] = self._open_piece(index)[shared.within(piece_box)]
        return result

    def _open_piece(self, index: int) -> np.ndarray:
        try:
            piece = np.load(self.path(index), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise NewRunError(
                f"{self.path(index)} is damaged.", "Remove this run and start it again."
            ) from error
        if piece.shape != self.boxes[index].shape or piece.dtype != np.uint8:
            raise NewRunError(
                f"{self.path(index)} does not fit the run.", "Remove this run and start it again."
            )
        return piece


def write_array(path: Path, array: np.ndarray) -> None:
    """Store one array as .npy so that `path` never holds half of it."""
    with part_file(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)
