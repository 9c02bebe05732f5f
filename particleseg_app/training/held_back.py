"""How well a trained network does on labelled volumes that took no part in its training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.evaluation import Score
from particleseg_app.models.predictor import reduced_precision
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.tiles import tile_shape_for, tile_starts
from particleseg_app.training.calibration import Offsets, score_scene
from particleseg_app.units import Shape

if TYPE_CHECKING:
    import torch

FIGURES = ("f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio")
CANDIDATES: tuple[Offsets, ...] = tuple(
    (background, core, 0.0) for background in (0.0, 0.4, 0.8) for core in (0.0, -0.5, -1.0)
)
ENOUGH_PARTICLES = 100  # to choose class offsets by
LARGEST_EDGE = 256  # of a held-back volume at working scale; larger ones are cut around the middle
OVERLAP_SHARE = 0.5


@dataclass(frozen=True)
class HeldBackFigures:
    """Mean figures over the volumes, and the class offsets to ship the network with.

    `calibrated`: the offsets were chosen on these volumes; then each volume is measured with the
    offsets that were best on the other half of them.
    """

    volumes: int
    particles: int
    figures: dict[str, float]
    class_offsets: Offsets
    calibrated: bool

    def as_dict(self) -> dict[str, Any]:
        return {**self.figures, "particles": self.particles, "volumes": self.volumes}


def measure_held_back(
    network: torch.nn.Module,
    volumes: Iterable[tuple[np.ndarray, np.ndarray]],
    count: int,
    patch_shape: Shape,
    device: torch.device,
    otherwise: Offsets,
    progress: Progress,
    cancel: CancelToken,
    stage: str = "Measuring on held-back data",
    offered: Sequence[Offsets] = CANDIDATES,
) -> HeldBackFigures:
    """Segment `count` volumes (normalised grey, labels; working scale) and compare (000 §4.1).

    Class offsets are calibrated on them, among `offered`, when there are two volumes and
    `ENOUGH_PARTICLES`; else `otherwise` are kept.
    """
    import torch

    progress.start(stage, count, "volumes")
    network = network.to(device).eval()
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    candidates = [otherwise, *(c for c in offered if c != otherwise)]
    scores: list[list[Score]] = []  # volume, candidate
    for grey, labels in volumes:
        grey, labels = _middle(grey), _middle(labels)
        logits = tiled_logits(network, grey, patch_shape, device, cancel)
        row = []
        for offsets in candidates:
            cancel.check()
            row.append(score_scene(logits, labels, offsets))
        scores.append(row)
        progress.advance()
    network.to("cpu")
    particles = sum(row[0].reference_count for row in scores)
    calibrated = len(candidates) > 1 and len(scores) >= 2 and particles >= ENOUGH_PARTICLES
    chosen, measured = 0, [row[0] for row in scores]
    if calibrated:
        chosen = _best(scores)
        measured = []
        for half in (0, 1):
            best_on_the_other = _best(scores[1 - half :: 2])
            measured += [row[best_on_the_other] for row in scores[half::2]]
    rows = [asdict(score) for score in measured]
    figures = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in FIGURES}
    return HeldBackFigures(len(scores), particles, figures, candidates[chosen], calibrated)


def _best(scores: Sequence[Sequence[Score]]) -> int:
    """The candidate with the best mean F1_match, then F1_instance; the first of equal ones."""
    return max(
        range(len(scores[0])),
        key=lambda c: (
            round(float(np.mean([row[c].f1_match for row in scores])), 6),
            round(float(np.mean([row[c].f1_instance for row in scores])), 6),
            -c,
        ),
    )


def tiled_logits(
    network: torch.nn.Module,
    grey: np.ndarray,
    patch_shape: Shape,
    device: torch.device,
    cancel: CancelToken,
) -> np.ndarray:
    """Class scores (3, z, y, x) of a normalised volume, from overlapping tiles as in a run.

    The tiles have the model's patch shape, because instance normalisation depends on it.
    """
    import torch

    tile = tile_shape_for(grey.shape, patch_shape)
    padded = np.pad(
        grey, [(0, max(0, t - n)) for t, n in zip(tile, grey.shape, strict=True)], mode="edge"
    )
    total = np.zeros((3, *padded.shape), np.float32)
    weights = np.zeros(padded.shape, np.float32)
    bells = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in tile]
    bell = np.maximum(bells[0][:, None, None] * bells[1][:, None] * bells[2], 1e-4).astype(
        np.float32
    )
    precision = reduced_precision(device)
    starts = [
        tile_starts(n, t, int(OVERLAP_SHARE * t)) for n, t in zip(padded.shape, tile, strict=True)
    ]
    for corner in itertools.product(*starts):
        cancel.check()
        window = tuple(slice(c, c + t) for c, t in zip(corner, tile, strict=True))
        image = torch.from_numpy(np.ascontiguousarray(padded[window], np.float32))[None, None]
        with (
            torch.inference_mode(),
            torch.autocast(device.type, precision, enabled=precision is not None),
        ):
            image = image.to(device).contiguous(memory_format=torch.channels_last_3d)
            logits = network(image)
        total[(slice(None), *window)] += logits.float()[0].cpu().numpy() * bell
        weights[window] += bell
    inside = (slice(None), *(slice(0, n) for n in grey.shape))
    return (total / weights)[inside]


def _middle(volume: np.ndarray) -> np.ndarray:
    starts = [max(0, (n - LARGEST_EDGE) // 2) for n in volume.shape]
    return volume[tuple(slice(s, s + LARGEST_EDGE) for s in starts)]
