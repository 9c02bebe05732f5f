"""Offsets to the class scores that part touching particles best on scenes held back from training.

A voxel wrongly called core between two particles joins them, one wrongly called border costs next
to nothing, so the best decision is not the most probable class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.evaluation import Score, evaluate
from particleseg_app.models.predictor import reduced_precision
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.training.scene_pool import normalise_scan

if TYPE_CHECKING:
    import torch

Offsets = tuple[float, float, float]
MIN_RELATIVE_VOLUME = 0.005


@dataclass(frozen=True)
class Trial:
    """Mean scores over all scenes with one choice of offsets (background, core, border)."""

    offsets: Offsets
    f1: float
    f1_match: float
    f1_instance: float
    merger_ratio: float
    splitter_ratio: float


def scene_logits(network: torch.nn.Module, grey: np.ndarray) -> np.ndarray:
    """Class scores (3, z, y, x) of a whole scan at working scale, in memory.

    The edges must be multiples of the network's stride.
    """
    import torch

    image = torch.from_numpy(normalise_scan(grey).astype(np.float32))[None, None]
    precision = reduced_precision(image.device)
    with (
        torch.inference_mode(),
        torch.autocast("cpu", precision, enabled=precision is not None),
    ):
        logits = network(image.contiguous(memory_format=torch.channels_last_3d))
    return logits.float()[0].numpy()


def without_small(labels: np.ndarray) -> np.ndarray:
    """Labels 1…n after particles far below the mean volume are gone, as a run drops them."""
    volumes = np.bincount(labels.ravel())
    volumes[0] = 0
    found = volumes > 0
    mean = volumes[found].mean() if found.any() else 0.0
    keep = found & (volumes >= MIN_RELATIVE_VOLUME * mean)
    numbers = np.zeros(len(volumes), np.uint32)
    numbers[keep] = np.arange(1, keep.sum() + 1)
    return numbers[labels]


def score_scene(logits: np.ndarray, labels: np.ndarray, offsets: Offsets) -> Score:
    """Score of the particles that class scores with `offsets` give, against `labels`."""
    shifted = logits + np.array(offsets, np.float32)[:, None, None, None]
    classes = shifted.argmax(axis=0).astype(np.uint8)
    return evaluate(labels, without_small(border_core_to_particles(classes)))


def calibrate(
    network: torch.nn.Module,
    scenes: Iterable[tuple[np.ndarray, np.ndarray]],
    candidates: Sequence[Offsets],
    cancel: CancelToken | None = None,
) -> list[Trial]:
    """Try each choice of offsets on every (grey, labels) scene; the best F1_match comes first."""
    names = ("f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio")
    rows: list[list[list[float]]] = [[] for _ in candidates]
    for grey, labels in scenes:
        logits = scene_logits(network, grey)
        for row, offsets in zip(rows, candidates, strict=True):
            if cancel is not None:
                cancel.check()
            score = score_scene(logits, labels.astype(np.uint32), offsets)
            row.append([getattr(score, name) for name in names])
    trials = [
        Trial(offsets, *(float(mean) for mean in np.mean(row, axis=0)))
        for offsets, row in zip(candidates, rows, strict=True)
    ]
    return sorted(trials, key=lambda trial: -trial.f1_match)
