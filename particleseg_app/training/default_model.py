"""How the default model is trained: on fresh simulated scans, going on from a smaller network.

    python -m particleseg_app.training.default_model WORK --device cuda:0 --minutes 8

WORK holds the checkpoint, the log and the loss curve; the same command goes on. `--minutes` or
`--steps` is the length of the whole training, `--stop-after` that of this call, so that a card that
is lent for a short while can be used again and again. The model folder is made from it by `--export
FOLDER`, after which class offsets are chosen and figures measured (docs/models.md).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer

from particleseg_app.errors import Cancelled, InvalidValueError
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.augmentation import vary_grey_values
from particleseg_app.training.base_model import BaseModel, base_model
from particleseg_app.training.device_scenes import DeviceScenes
from particleseg_app.training.export import (
    LEAST_CONTRAST_TO_NOISE,
    ModelFacts,
    TrainedNetwork,
    export_network,
    trained_network,
)
from particleseg_app.training.fresh_scenes import Stream
from particleseg_app.training.scenes import PRESETS as SCENE_PRESETS
from particleseg_app.training.trainer import Trainer, TrainingSettings
from particleseg_app.training.training_loop import CHECKPOINT
from particleseg_app.training.widening import widened

# What was hardest for the model before has more than its share.
PRESETS = {
    "varied": 0.30, "unsharp": 0.06, "noisy": 0.06, "zoned": 0.05, "flawed": 0.03,
    "sintered": 0.12, "branched": 0.12, "plates": 0.08, "needles": 0.03, "touching": 0.05,
    "settled_angular": 0.04, "wide": 0.04, "sand_tube": 0.02,
}  # fmt: skip
FIRST_SEED = 100_000_000  # far from the seeds of every other training and benchmark
FEATURES = (32, 64, 128, 256, 256)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if options.export is not None:
        trained = trained_network(options.work / CHECKPOINT)
        if options.average_with is not None:
            trained = mean_with(trained, base_model(find_model(options.average_with)))
        export_network(trained, options.export, ModelFacts())
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
        critical_weight=options.critical_weight,
        seed=options.seed,
        device=options.device,
        checkpoint_every=400,
    )
    stream = Stream(
        options.presets,
        options.first_seed,
        base.border_thickness,
        options.window,
        options.steps_per_scene,
        options.scene_edge,
        min(options.first, options.window),
        critical=options.critical_weight != 1 or options.hard_places > 0,
        least_contrast_to_noise=LEAST_CONTRAST_TO_NOISE,
    )
    cancel = CancelToken()
    with DeviceScenes(
        stream, options.seed, options.device, options.processes, options.hard_places
    ) as source:
        learned = source.learned if options.hard_places > 0 else None
        trainer = Trainer(options.work, settings, weights, vary_grey_values, learned)
        timer = Timer(60 * options.stop_after, cancel.cancel) if options.stop_after else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            trainer.run(source, None, Progress(), cancel)
        except Cancelled:
            sys.stdout.write("Stopped; the same command goes on.\n")
        finally:
            if timer is not None:
                timer.cancel()
    sys.stdout.write(f"{trainer.step} steps, {source.scene_count} scenes\n")


def mean_with(trained: TrainedNetwork, other: BaseModel) -> TrainedNetwork:
    """The network whose weights are the mean of a trained one's and of those it began with.

    A short training forgets some of what its scenes do not have; half way back most of that is
    there again and most of what was learnt still is (WiSE-FT, Wortsman et al. 2022). Raises
    `InvalidValueError` where the two are not the same kind of network.
    """
    weights = trained.network.state_dict()
    if {name: value.shape for name, value in weights.items()} != {
        name: value.shape for name, value in other.weights.items()
    }:
        raise InvalidValueError(
            "The two networks have different layers, so their weights have no mean.",
            "Name the model that the training began with.",
        )
    mean = {name: (value + other.weights[name].to(value)) / 2 for name, value in weights.items()}
    trained.network.load_state_dict(mean)
    return trained


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train the default model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("work", type=Path, help="folder of checkpoint and log")
    add("--base", default="light", help="model to go on from")
    add("--features", type=int, nargs="+", default=list(FEATURES), help="channels of each stage")
    add("--minutes", type=float, default=None, help="length of the whole training")
    add("--steps", type=int, default=None, help="the same in steps")
    add("--stop-after", type=float, default=None, help="minutes after which this call ends")
    add("--device", default="cpu", help="cpu, or cuda:0")
    add("--batch", type=int, default=4, help="patches in a step")
    add("--edge", type=int, default=96, help="of a patch, voxels")
    add("--rate", type=float, default=8e-4, help="highest learning rate")
    add("--processes", type=int, default=None, help="that make scenes; default: all cores but one")
    add("--steps-per-scene", type=float, default=None,
        help="after so many steps the next scene comes; default: when it is made")  # fmt: skip
    add("--first", type=int, default=16, help="scenes that the training begins with")
    add("--window", type=int, default=200, help="scenes on the device at most")
    add("--scene-edge", type=int, default=128, help="of a scene, voxels")
    add("--hard-places", type=float, default=0.0,
        help="share of the patches drawn from where the network was wrong of late")  # fmt: skip
    add("--critical-weight", type=float, default=1.0,
        help="weight of mistakes that join or cut particles, 1: as any other")  # fmt: skip
    add("--presets", type=_share, nargs="+", default=list(PRESETS.items()), metavar="NAME=SHARE",
        help="kinds of scenes and how often each comes")  # fmt: skip
    add("--first-seed", type=int, default=FIRST_SEED, help="of the scenes")
    add("--seed", type=int, default=1)
    add("--export", type=Path, default=None, help="write the model of WORK to this folder")
    add("--average-with", default=None, metavar="MODEL",
        help="with --export: the mean of its weights and those of the model it began with"
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.presets = dict(options.presets)
    return options


def _share(text: str) -> tuple[str, float]:
    """NAME=SHARE of a preset."""
    name, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        value = math.nan
    if name not in SCENE_PRESETS or not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text} is not a preset and its share, such as varied=0.4. "
            f"Presets: {', '.join(SCENE_PRESETS)}."
        )
    return name, value


if __name__ == "__main__":
    main()
