"""Small label volumes, and a journal that is nothing but arrays in memory to compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from particleseg_app.review.changes import LabelChange
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import LabelVolume, LabelWriter, open_labels


def write_labels(path: Path, labels: np.ndarray) -> LabelVolume:
    """Store `labels` as a run does and open them."""
    with LabelWriter(path, labels.shape, int(labels.max())) as writer:
        writer.write(Box.whole(labels.shape), labels)
    return open_labels(path)


def random_labels(seed: int, shape: Shape, count: int) -> np.ndarray:
    """Boxes of labels 1…count at random places, the later ones over the earlier ones."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for label in range(1, count + 1):
        start = [int(rng.integers(0, n - 4)) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(4, 20))) for a in start)] = label
    return labels


def random_change(rng: np.random.Generator, labels: np.ndarray, new_label: int) -> LabelChange:
    """A change of a random box: some voxels become background, another label or a new one."""
    start = [int(rng.integers(0, n - 1)) for n in labels.shape]
    stop = [min(n, a + int(rng.integers(1, 30))) for a, n in zip(start, labels.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
    before = labels[box.slices].copy()
    after = before.copy()
    where = rng.random(box.shape) < rng.choice([0.02, 0.5, 1.0])
    after[where] = rng.choice([0, int(labels.max()), new_label])
    return LabelChange(box, before, after)


class PlainJournal:
    """What the journal should do, with a whole copy of the labels for every state."""

    def __init__(self, labels: np.ndarray) -> None:
        self.states = [labels.copy()]
        self.at = 0

    @property
    def now(self) -> np.ndarray:
        return self.states[self.at]

    def append(self, change: LabelChange) -> None:
        labels = self.now.copy()
        labels[change.box.slices] = change.after
        self.push(labels)

    def push(self, labels: np.ndarray) -> None:
        del self.states[self.at + 1 :]
        self.states.append(labels)
        self.at += 1

    def undo(self) -> bool:
        if not self.at:
            return False
        self.at -= 1
        return True

    def redo(self) -> bool:
        if self.at + 1 == len(self.states):
            return False
        self.at += 1
        return True
