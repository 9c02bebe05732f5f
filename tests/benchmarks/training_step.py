"""How long a step of a training takes, and how much of it goes into getting its batch.

    python -m tests.benchmarks.training_step [--device cuda:0] [--steps 40] [--features light]

Trains on whatever device there is, from random weights: with and without hard places and weighted
mistakes, and with nothing but the batch made. The few scenes are made beforehand; how long that
took is said apart. Milliseconds per step, as the log of a training has them: "data" lasts until the
batch is there, "training" is the rest; "whole" is what a clock on the wall says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import Trainer, TrainingSettings
from particleseg_app.training.augmentation import Randomness, vary_grey_values
from particleseg_app.training.default_model import FEATURES, FIRST_SEED, PRESETS
from particleseg_app.training.device_scenes import DeviceScenes
from particleseg_app.training.fresh_scenes import FreshScene, SceneMaker, Stream
from particleseg_app.training.step_clock import StepClock
from tests.benchmarks.measuring import machine

NETWORKS = {"light": (16, 32, 64, 128, 128), "default": FEATURES}
SCENES, WARM_UP = 4, 5


class ClockedTrainer(Trainer):
    """Keeps the times of its log instead of writing them."""

    times: dict[str, float] | None = None

    def _note(self, loss: float, scenes: int, means: dict[str, float]) -> None:
        self.times = means


class MadeScenes:
    """Stands for a `SceneMaker` that has made all it will."""

    def __init__(self, made: list[FreshScene]) -> None:
        self._made = made

    def begin_at(self, number: int) -> None:
        pass

    def ready(self, number: int) -> bool:
        return number < len(self._made)

    def take(self, number: int) -> FreshScene:
        return self._made[number]

    def close(self) -> None:
        pass


def made_scenes(options: argparse.Namespace, stream: Stream) -> MadeScenes:
    began = time.monotonic()
    maker = SceneMaker(stream, options.processes, options.device != "cpu")
    made = [maker.take(number) for number in range(SCENES)]
    print(f"the first {SCENES} scenes of {stream.edge}³: {time.monotonic() - began:.1f} s")
    maker.close()
    return MadeScenes(made)


def batch_alone(options: argparse.Namespace, source: DeviceScenes) -> dict[str, float]:
    """A batch cut and varied without a step after it, each waited for."""
    device = torch.device(options.device)
    clock = StepClock(device)
    for step in range(WARM_UP + options.steps):
        if step == WARM_UP:
            clock.means()
        with clock.part("cutting"):
            grey, target = source.batch(step, options.batch, options.edge)
        with clock.part("changing"):
            vary_grey_values(Randomness.of((1, step, 2), device), grey, target)
    return clock.means()


def whole_steps(
    options: argparse.Namespace, source: DeviceScenes, weight: float, hard_places: bool
) -> dict[str, float]:
    settings = TrainingSettings(
        features=NETWORKS[options.features], normalised=False, steps=WARM_UP + options.steps,
        minutes=None, batches=((options.batch, options.edge),), critical_weight=weight,
        replicas=1 if options.device != "cpu" else min(2, options.batch), device=options.device,
    )  # fmt: skip
    learned = source.learned if hard_places else None
    with tempfile.TemporaryDirectory() as folder:
        trainer = ClockedTrainer(Path(folder), settings, None, vary_grey_values, learned)
        trainer.log_every = 10**9
        trainer.planned_steps = WARM_UP
        trainer.run(source, None, Progress(), CancelToken())
        trainer.planned_steps = settings.steps
        began = time.monotonic()
        trainer.run(source, None, Progress(), CancelToken())
        whole = 1000 * (time.monotonic() - began) / options.steps
    assert trainer.times is not None
    return {**trainer.times, "whole": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--features", choices=sorted(NETWORKS), default="default")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--edge", type=int, default=96)
    parser.add_argument("--scene-edge", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--processes", type=int, default=None)
    options = parser.parse_args()
    name = torch.cuda.get_device_name(0) if options.device.startswith("cuda") else "processor"
    print(
        f"{machine()}; trained on: {name}; {options.features} network, "
        f"{options.batch} patches of {options.edge}³, {options.steps} steps"
    )
    stream = Stream(
        PRESETS, FIRST_SEED, window=SCENES, steps_per_scene=None, edge=options.scene_edge,
        first=SCENES, critical=True,
    )  # fmt: skip
    made = made_scenes(options, stream)
    for title, weight, share in (
        ("batch alone", 0.0, 0.0),
        ("as it is by default", 1.0, 0.0),
        ("weighted mistakes", 4.0, 0.0),
        ("hard places", 1.0, 0.5),
        ("both", 4.0, 0.5),
    ):
        with DeviceScenes(stream, 1, options.device, hard_places=share, maker=made) as source:
            if weight == 0:
                row(title, batch_alone(options, source))
            else:
                row(title, whole_steps(options, source, weight, share > 0))


def row(title: str, times: dict[str, Any]) -> None:
    parts = "  ".join(f"{name} {value:8.1f} ms" for name, value in times.items())
    print(f"{title:22} {parts}", flush=True)


if __name__ == "__main__":
    main()
