"""How the default model is trained: on fresh simulated scans, going on from a smaller network.

    python -m particleseg_app.training.default_model WORK --device cuda:0 --minutes 8

WORK holds the checkpoint, the log and the loss curve; the same command goes on. The model folder is
made from it by `--export FOLDER`, after which class offsets are chosen and figures measured
(docs/models.md).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.base_model import base_model
from particleseg_app.training.export import ModelFacts, export_model
from particleseg_app.training.fresh_scenes import FreshScenes, Stream
from particleseg_app.training.trainer import Trainer, TrainingSettings
from particleseg_app.training.training_loop import CHECKPOINT
from particleseg_app.training.widening import widened

# What was hardest for the model before has more than its share.
PRESETS = {
    "varied": 0.50, "sintered": 0.12, "branched": 0.12, "plates": 0.08, "needles": 0.03,
    "touching": 0.05, "settled_angular": 0.04, "wide": 0.04, "sand_tube": 0.02,
}  # fmt: skip
FIRST_SEED = 100_000_000  # far from the seeds of every other training and benchmark
FEATURES = (32, 64, 128, 256, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the default model.")
    parser.add_argument("work", type=Path)
    parser.add_argument("--base", default="light", help="model to go on from")
    parser.add_argument("--features", type=int, nargs="+", default=list(FEATURES))
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--edge", type=int, default=96)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--steps-per-scene", type=float, default=2.0)
    parser.add_argument("--window", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--export", type=Path, default=None)
    options = parser.parse_args()
    if options.export is not None:
        export_model(options.work / CHECKPOINT, options.export, ModelFacts())
        return
    base = base_model(find_model(options.base))
    network, weights = widened(base.architecture, base.weights, tuple(options.features))
    settings = TrainingSettings(
        features=tuple(options.features),
        normalised=False,
        architecture=network,
        border_thickness=base.border_thickness,
        steps=options.steps,
        minutes=None if options.steps else options.minutes,
        batches=((options.batch, options.edge),),
        replicas=1 if options.device != "cpu" else min(2, options.batch),
        learning_rate=options.rate,
        warm_up_steps=100,
        average_decay=0.998,
        seed=options.seed,
        device=options.device,
        checkpoint_every=400,
    )
    stream = Stream(
        PRESETS, FIRST_SEED, base.border_thickness, options.window, options.steps_per_scene
    )
    trainer = Trainer(options.work, settings, weights)
    with FreshScenes(stream, options.seed, options.processes) as source:
        trainer.run(source, None, Progress(), CancelToken())
    sys.stdout.write(f"{trainer.step} steps, {source.scene_count} scenes\n")


if __name__ == "__main__":
    main()
