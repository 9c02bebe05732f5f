"""What a model says of itself: purpose, target diameter, border thickness, grey values, limits."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.errors import ModelError
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.volumes import GreyStatistics

CARD_NAME = "model_card.json"
MAX_JSON_BYTES = 4 * 1024 * 1024
# Particles that are less than a hundredth of a scan count as so much of it for the grey scale.
SHARE_OF_SPARSE = 0.1
CLASSES = ("background", "core", "border")
# Edges of patches and tiles, in voxels.
LONGEST_EDGE = 512
TILE_STEP = 16


@dataclass(frozen=True)
class GreyScaling:
    """Grey value I → (clip(I, low, high) - mean) / std, the z-score of 000 §3.2.1."""

    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True)
class Normalisation:
    """How a model wants its grey values.

    `fixed`: z-score with the mean and std of the model's training set (000 §3.2.1).
    `scan_clipped`: grey values clipped to two percentiles of the whole scan, then z-scored with
    the mean and std of the clipped scan, so that any scanner's grey scale will do.
    """

    scheme: str
    low_percentile: float = 0.5
    high_percentile: float = 99.5
    mean: float = 0.0
    std: float = 1.0

    def for_scan(self, statistics: GreyStatistics) -> GreyScaling:
        """The scaling for one scan, from the statistics of all of its voxels."""
        if self.scheme == "fixed":
            return GreyScaling(-math.inf, math.inf, self.mean, self.std)
        edges = np.asarray(statistics.histogram_edges, dtype=np.float64)
        # What was filled in far from all other grey values would leave these no contrast.
        counts = statistics.counts_without_far_padding().astype(np.float64)
        low = statistics.percentile_of(counts, self.low_percentile)
        high = statistics.percentile_of(counts, self.high_percentile)
        sparse = statistics.sparse_bright()
        if sparse is not None:
            # As if they were more: else they would be clipped away, and what is left is noise.
            bright = (edges[:-1] + edges[1:]) / 2 > sparse.threshold
            wanted = SHARE_OF_SPARSE / (1 - SHARE_OF_SPARSE) * counts[~bright].sum()
            counts[bright] *= wanted / counts[bright].sum()
            high = statistics.percentile_of(counts, self.high_percentile)
        grey = np.clip((edges[:-1] + edges[1:]) / 2, low, high)
        mean = float(np.average(grey, weights=counts))
        std = float(np.sqrt(np.average((grey - mean) ** 2, weights=counts)))
        return GreyScaling(low, high, mean, max(std, 1e-6 * max(1.0, abs(mean))))


@dataclass(frozen=True)
class ModelCard:
    """The facts of a model folder's `model_card.json`; lengths in voxels at the working scale.

    `purpose` says in a plain sentence what the model is for, beside the others in the list.
    Scans with less contrast to noise (`segmentation.noise`) than `least_contrast_to_noise` are
    denoised for it; 0 for a model that takes every scan as it is.

    A run predicts tiles of `patch_shape`. Where the network has no normalisation layer, what it
    says of a voxel does not depend on the size of the tile; then tiles may have edges of up to
    `longest_tile_edge` voxels, a multiple of 16, and 0 elsewhere.
    """

    name: str
    title: str
    version: str
    target_diameter_voxels: float
    border_thickness_voxels: float
    normalisation: Normalisation
    patch_shape: Shape
    licence: str = ""
    made_from: str = ""
    limits: str = ""
    purpose: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    least_contrast_to_noise: float = 0.0
    longest_tile_edge: int = 0


def read_small_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file that must be small; `ModelError` names the file otherwise."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path} is too large to be part of a model.", "Choose another model.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent} is not a model: {path.name} is missing.", "Choose a model folder."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}.", "Copy the model anew.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} does not describe a model.", "Copy the model anew.")
    return value


def read_card(folder: Path) -> ModelCard:
    """Read and check `model_card.json` of a model folder; raises `ModelError`."""
    path = folder / CARD_NAME
    raw = read_small_json(path)
    try:
        patch = tuple(int(n) for n in raw["patch_shape"])
        scaling = raw["normalisation"]
        card = ModelCard(
            name=str(raw["name"]),
            title=str(raw["title"]),
            version=str(raw["version"]),
            target_diameter_voxels=float(raw["target_diameter_voxels"]),
            border_thickness_voxels=float(raw["border_thickness_voxels"]),
            normalisation=Normalisation(
                scheme=str(scaling["scheme"]),
                low_percentile=float(scaling.get("low_percentile", 0.5)),
                high_percentile=float(scaling.get("high_percentile", 99.5)),
                mean=float(scaling.get("mean", 0.0)),
                std=float(scaling.get("std", 1.0)),
            ),
            patch_shape=patch,  # type: ignore[arg-type]
            licence=str(raw.get("licence", "")),
            made_from=str(raw.get("made_from", "")),
            limits=str(raw.get("limits", "")),
            purpose=str(raw.get("purpose", "")),
            figures=dict(raw.get("figures", {})),
            least_contrast_to_noise=float(raw.get("least_contrast_to_noise", 0.0)),
            longest_tile_edge=int(raw.get("longest_tile_edge", 0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a valid model card ({error!r}).", "Copy the model anew."
        ) from error
    normalisation = card.normalisation
    possible = (
        len(patch) == 3
        and all(16 <= n <= LONGEST_EDGE for n in patch)
        and 4 <= card.target_diameter_voxels <= 500
        and 0.5 <= card.border_thickness_voxels <= 50
        and normalisation.scheme in ("fixed", "scan_clipped")
        and 0 <= normalisation.low_percentile < normalisation.high_percentile <= 100
        and math.isfinite(normalisation.mean)
        and math.isfinite(normalisation.std)
        and normalisation.std > 0
        and 0 <= card.least_contrast_to_noise <= 100
        and 0 <= card.longest_tile_edge <= LONGEST_EDGE
        and card.longest_tile_edge % TILE_STEP == 0
        and (card.longest_tile_edge == 0 or all(n % TILE_STEP == 0 for n in patch))
    )
    if not possible:
        raise ModelError(f"{path} holds values that are not possible.", "Copy the model anew.")
    return card
