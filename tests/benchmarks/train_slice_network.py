"""Train the slice-wise 2D U-Net that the accuracy benchmark compares with.

    python -m tests.benchmarks.train_slice_network [--scenes FOLDER] [--minutes M] [--anew]

It learns from simulated scenes such as the default model learns from; without `--scenes` it makes
its own. It runs on one core at low priority and goes on where it was stopped. The weights go to
the user's cache folder, not into the repository.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import torch

from particleseg_app.training import fill_pool
from tests.benchmarks.slice_network import cache_folder, model_folder
from tests.benchmarks.slice_network.slices import SliceSource
from tests.benchmarks.slice_network.training import (
    BORDER_THICKNESS,
    SliceTraining,
    best_offsets,
    write_model,
)

STANDARD_MINUTES = 20.0
MOST_SCENES = 160
# The presets in the shares that the default model was trained on (`training.default_model`), with
# seeds that neither it nor its figures use.
OWN_SCENES = (
    ("varied", 5_000_000, 80), ("sintered", 5_100_000, 19), ("branched", 5_200_000, 19),
    ("plates", 5_300_000, 13), ("touching", 5_400_000, 8), ("settled_angular", 5_500_000, 7),
    ("wide", 5_600_000, 6), ("needles", 5_700_000, 5), ("sand_tube", 5_800_000, 3),
)  # fmt: skip


def train_slice_network(
    scenes: Path | None = None, minutes: float = STANDARD_MINUTES, anew: bool = False
) -> None:
    """Train or go on training, choose the class offsets, and write the model folder."""
    work = cache_folder() / "slice_network" / "training"
    if anew and work.exists():
        shutil.rmtree(work)
    if scenes is None:
        scenes = cache_folder() / "slice_network" / "scenes"
        for preset, first_seed, count in OWN_SCENES:
            print(f"Simulating {count} scenes “{preset}” in {scenes} …", flush=True)
            fill_pool(scenes, first_seed, count, preset)
    torch.set_num_threads(1)
    training = SliceTraining(work, minutes, lambda line: print(line, flush=True))
    source = SliceSource(scenes, BORDER_THICKNESS, seed=1, most_scenes=MOST_SCENES)
    training.run(source)
    offsets, _ = best_offsets(training.average, scenes)
    write_model(training, source.scene_count, offsets, model_folder())
    print(f"The 2D network is in {model_folder()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=Path, help="folder of simulated scenes (*.npz)")
    parser.add_argument("--minutes", type=float, default=STANDARD_MINUTES, help="of one core")
    parser.add_argument("--anew", action="store_true", help="forget an earlier training")
    options = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(5)
    train_slice_network(options.scenes, options.minutes, options.anew)


if __name__ == "__main__":
    main()
