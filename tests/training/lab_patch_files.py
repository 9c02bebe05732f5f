"""Labelled patches and very small training plans for the tests of this folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch

from particleseg_app.models import open_model
from particleseg_app.models.model_folder import load_network
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import TrainingPlan, train_model

DIAMETER = 13


def write_patch(folder: Path, name: str, seed: int = 0, **changes: object) -> None:
    """Four balls of 13 voxels, two of them touching, in noise; 10 µm voxels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels = np.zeros((40, 44, 48), np.uint16)
    mask = ((np.indices((DIAMETER,) * 3) - 6.0) ** 2).sum(0) <= 6.5**2
    for number, corner in enumerate([(4, 4, 4), (4, 4, 17), (24, 20, 8), (20, 28, 30)], start=1):
        labels[tuple(slice(c, c + DIAMETER) for c in corner)][mask] = number
    grey = (rng.normal(2000, 200, labels.shape) + 4000 * (labels > 0)).astype(np.uint16)
    tifffile.imwrite(folder / f"{name}_image.tif", grey, photometric="minisblack")
    tifffile.imwrite(folder / f"{name}_labels.tif", labels, photometric="minisblack")
    about = {"voxel_size_um": 10, "particle_diameter_um": 130, **changes}
    (folder / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")


def tiny_plan(folder: Path | None, **changes: object) -> TrainingPlan:
    plan = TrainingPlan(
        patches=folder, steps=4, features=(4, 8), target_diameter=13.0, edge=16, seed=2
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def train(plan: TrainingPlan, folder: Path, cancel: CancelToken | None = None) -> Path:
    out = folder / "model"
    train_model(plan, out, folder / "work", "cpu", Progress(), cancel or CancelToken())
    return out


def predict(folder: Path) -> torch.Tensor:
    """Class scores of a model's first fold on a fixed random image."""
    network = load_network(open_model(folder))[0]
    torch.manual_seed(0)
    with torch.inference_mode():
        return network(torch.randn(1, 1, 32, 32, 32))


class CopyAfter(CancelToken):
    """Copies a folder at the nth check: what a process killed at that moment leaves behind."""

    def __init__(self, checks: int, folder: Path, copy: Path) -> None:
        super().__init__()
        self._left, self._folder, self._copy = checks, folder, copy

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            shutil.copytree(self._folder, self._copy)
        super().check()
