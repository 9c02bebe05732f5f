"""The whole run against particleseg3d 0.2.16: same image, weights and mirroring.

    pip install --no-deps -r tests/benchmarks/particleseg3d_requirements.txt
    python -m tests.benchmarks.versus_particleseg3d [--size 56] [--diameter 18] [--stated 54]
    python -m tests.benchmarks.versus_particleseg3d --device cuda --size 192 --diameter 32
        --stated 60 --folds 5 --batch 6

Two comparisons. *Same weights*: a network of its own class and size (nnU-Net's 32…320 channels,
31 million weights, patches of 128³, enlarged to 60 voxels a particle, eight mirrored copies), read
by it from its own layout and by ours through `model import`. *Defaults*: our default model and
preset against what it does unless told otherwise (five folds).

Nobody may hand out the published weights, and random ones find no particles. So the weights are
made by hand: at full resolution one channel carries the grey value past everything else, and the
last layer cuts it in two places; all other channels hold random weights that lead nowhere. The made
image has three grey levels for background, border and core, blurred and with noise. What such a
network costs is what a trained one costs. It normalises the grey values of each patch by
themselves, so its particles are real enough to compare only where a patch holds many (`--stated`).
particleseg3d rounds the patch that it cuts from the image to an even number of voxels and so works
at another scale than it was asked for, unless patch × stated / 60 is an even number: then both work
at the same one, and their particles can be compared.

Each side runs in a process of its own, watched from outside. The image lies ready for each; loading
the model counts for both. Our conversion of the model for the processor, once per model, does not.

On a graphics card particleseg3d computes in float16 and ours in what it takes by itself; neither
side is charged for making the card and its libraries ready.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.progress import CancelToken, Progress
from tests.benchmarks.measuring import StageClock, machine, measured_apart, step

if TYPE_CHECKING:
    import torch

_MODULE = "tests.benchmarks.versus_particleseg3d"
_TRAINER = "nnUNetTrainerV2__nnUNetPlansv2.1"
_TARGET_DIAMETER = 60
_MEAN, _STD = 5850.29762143569, 7078.294543817302
_LEVELS = np.array([1500.0, 9000.0, 16000.0])  # background, border, core
_VOXEL_UM = 100.0
_PARTS = ["make", "peer", "same", "same_float32", "default"]


def made_image(size: int, diameter: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Touching particles of about `diameter` voxels, float32 (z, y, x), in three grey levels.

    And their labels (uint32).
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    axis = np.arange(diameter / 2, size, diameter)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    tree = cKDTree(points + rng.uniform(-diameter / 6, diameter / 6, points.shape))
    where = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    distance, cell = tree.query(where, k=2)
    nearest, second = distance[..., 0], distance[..., 1]
    depth = np.minimum(0.5 * diameter - nearest, (second - nearest) / 2)
    classes = np.where(depth > 0.12 * diameter, 2, (nearest < 0.5 * diameter).astype(int))
    grey = ndimage.gaussian_filter(_LEVELS[classes], 0.4) + rng.normal(0, 250, classes.shape)
    labels = np.where(classes > 0, cell[..., 0] + 1, 0)
    return grey.astype(np.float32), labels.astype(np.uint32)


def made_network(features: int, pools: int, seed: int) -> torch.nn.Module:
    """particleseg3d's network class with weights that read the classes off the grey values."""
    import torch
    from particleseg3d.utils.nnunet_utils import Generic_UNet, InitWeights_He

    torch.manual_seed(seed)
    strides, kernels = [[2, 2, 2]] * pools, [[3, 3, 3]] * (pools + 1)
    network = Generic_UNet(
        1, features, 3, pools, 2, 2,
        torch.nn.Conv3d, torch.nn.InstanceNorm3d, {"eps": 1e-5, "affine": True},
        torch.nn.Dropout3d, {"p": 0, "inplace": True},
        torch.nn.LeakyReLU, {"negative_slope": 1e-2, "inplace": True},
        False, False, lambda x: x, InitWeights_He(1e-2),
        strides, kernels, False, True, True,
    )  # fmt: skip
    state = network.state_dict()
    # The way of the grey value: first stage, its connection to the last, and the last stage.
    first, last = "conv_blocks_context.0.blocks", f"conv_blocks_localization.{pools - 1}"
    skipped = state[f"{last}.0.blocks.0.conv.weight"].shape[1] // 2
    for block, source in (
        (f"{first}.0", 0),
        (f"{first}.1", 0),
        (f"{last}.0.blocks.0", skipped),
        (f"{last}.1.blocks.0", 0),
    ):
        _carry(state, block, source)
    head = state[f"seg_outputs.{pools - 1}.weight"]
    head.zero_()
    # Normalised in each tile the three levels lie near -1.2, 0 and 1.1; 3 was added to them.
    sharp = 8.0
    for name, cuts in ((2, (-0.6,)), (1, (-0.6, 0.55))):
        head[name, 0] = sharp * len(cuts)
        head[name, 1] = -sharp * sum(3 + cut for cut in cuts)
    network.load_state_dict(state)
    return network.eval()


def _carry(state: dict[str, torch.Tensor], block: str, source: int) -> None:
    """Channel 0 takes over channel `source`, normalised and lifted above 0; channel 1 is 1."""
    weight = state[f"{block}.conv.weight"]
    weight[:2] = 0
    weight[0, source, 1, 1, 1] = 1
    state[f"{block}.conv.bias"][:2] = 0
    gain, offset = state[f"{block}.instnorm.weight"], state[f"{block}.instnorm.bias"]
    gain[:2] = 1
    offset[0], offset[1] = 3, 1


def write_model(folder: Path, folds: int, features: int, pools: int, patch: int) -> None:
    """The layout of the published download."""
    import torch

    trainer = folder / _TRAINER
    trainer.mkdir(parents=True)
    plans = {"plans_per_stage": {0: {"patch_size": np.array([patch] * 3)}}, "num_classes": 2}
    (trainer / "plans.pkl").write_bytes(pickle.dumps(plans))
    about = {
        "net_num_pool_op_kernel_sizes": json.dumps([[2, 2, 2]] * pools),
        "net_conv_kernel_sizes": json.dumps([[3, 3, 3]] * (pools + 1)),
        "base_num_features": str(features),
        "num_classes": "3",
        "num_input_channels": "1",
        "conv_per_stage": "2",
    }
    for fold in range(folds):
        place = trainer / f"fold_{fold}"
        place.mkdir()
        (place / "debug.json").write_text(json.dumps(about))
        network = made_network(features, pools, seed=fold)
        torch.save({"epoch": 1, "state_dict": network.state_dict()}, place / "model_best.model")


def make(folder: Path, choice: argparse.Namespace) -> None:
    import zarr

    from particleseg_app.models.model_import import import_model
    from particleseg_app.volumes import import_scan, inspect_source
    from tests.benchmarks.particleseg3d_peer import prepare

    prepare()
    import tifffile

    image, labels = made_image(choice.size, choice.diameter)
    np.save(folder / "truth.npy", labels)
    # Its own converter from TIFF writes the values as float64, too.
    stored = zarr.open(
        str(folder / "peer" / "images" / "scan.zarr"), shape=image.shape, mode="w", dtype="f8"
    )
    stored[...] = image
    spacing = _VOXEL_UM / 1000
    metadata = {"scan": {"particle_size": _stated(choice) * spacing, "spacing": spacing}}
    (folder / "peer" / "metadata.json").write_text(json.dumps(metadata))
    tifffile.imwrite(folder / "scan.tif", image)
    import_scan(inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken())
    write_model(folder / "same", choice.folds, choice.features, choice.pools, choice.patch)
    import_model(folder / "same")


def _stated(choice: argparse.Namespace) -> float:
    """The diameter in voxels that both sides are told."""
    return float(choice.stated or choice.diameter)


def run_peer(folder: Path, choice: argparse.Namespace) -> None:
    from tests.benchmarks.particleseg3d_peer import prepare

    prepare(choice.device)
    import zarr
    from particleseg3d.inference.inference import predict_cases, setup_model

    _wake(choice.device)
    with step() as found:
        trainer, model, config = setup_model(
            str(folder / "same"), list(range(choice.folds)), _TRAINER
        )
        predict_cases(
            str(folder / "peer"), str(folder / "peer_out"), None, trainer, model, config,
            _TARGET_DIAMETER, 0.1, choice.batch, choice.processes, 0.005, (_MEAN, _STD),
        )  # fmt: skip
        found["card_bytes"] = _card_bytes(choice.device)
    labels = zarr.open(str(folder / "peer_out" / "scan" / "scan.zarr"), mode="r")
    np.save(folder / "peer.npy", np.rint(labels[...]).astype(np.uint32))


def run_ours(
    folder: Path, choice: argparse.Namespace, model: str, preset: str, exact: bool = False
) -> None:
    """`exact`: in float32, which is what particleseg3d computes in on a processor."""
    from particleseg_app.segmentation import RunSettings, segment
    from particleseg_app.units import Box
    from particleseg_app.volumes import open_labels, open_scan

    settings = RunSettings(
        _VOXEL_UM, _stated(choice) * _VOXEL_UM, model=model, preset=preset, device=choice.device
    )
    name, predictor, engine = model, None, ""
    if exact:
        name = f"{model}_float32"
        predictor, engine = _in_float32()
    _wake(choice.device)
    with open_scan(folder / "scan.h5") as scan:
        if choice.warm and not exact:
            # Converts the model and compiles what is compiled; on a card the latter only.
            warming = settings if choice.device == "cpu" else replace(settings, model="default")
            segment(folder / f"warm_{model}", scan, warming, Progress(), CancelToken())
        clock = StageClock()
        with step() as found:
            result = segment(
                folder / f"run_{name}", scan, settings, clock, CancelToken(),
                make_predictor=predictor,
            )  # fmt: skip
            found["particles"] = result.particle_count
            found["card_bytes"] = _card_bytes(choice.device)
    print(f"    computed by {engine or result.summary['inference']}")
    for stage, (wall, cpu, count) in clock.seconds().items():
        print(f"    {f'{stage} ({count})':44}{wall:10.2f}{cpu:10.2f}")
    with open_labels(result.labels_path) as labels:
        np.save(folder / f"{name}.npy", labels.read(Box.whole(labels.shape)))


def _in_float32() -> tuple[Callable[..., Any], str]:
    """What opens a model in float32, and its engine: OpenVINO where it is installed."""
    from particleseg_app.models import Inference, Predictor, open_predictor
    from particleseg_app.models.converted_models import openvino_version

    if openvino_version() is not None:
        exact = Inference("openvino", "float32")
        return functools.partial(open_predictor, inference=exact), "OpenVINO, float32"

    def plain(*arguments: Any) -> Predictor:
        predictor = Predictor(*arguments)
        predictor._reduced = None
        return predictor

    return plain, "PyTorch, float32"


def _wake(device: str) -> None:
    """Make a graphics card and the library for its convolutions ready."""
    import torch

    if device != "cpu":
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            layer = torch.nn.Conv3d(1, 8, 3, device=device)
            layer(torch.zeros((1, 1, 16, 16, 16), device=device))
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def _card_bytes(device: str) -> int:
    """The most memory of the card that torch used at one time."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if device != "cpu" else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=56, help="voxels along each edge of the image")
    parser.add_argument("--diameter", type=float, default=18, help="of a particle, in voxels")
    parser.add_argument(
        "--stated",
        type=float,
        help="diameter that both sides are told, in voxels (default: the true one); a larger one "
        "makes the same image cheaper, and puts more particles into a patch",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--folds", type=int, default=1, help="how many networks are joined")
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--pools", type=int, default=5)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1, help="patches at once in particleseg3d")
    parser.add_argument("--processes", type=int, default=4, help="particleseg3d's own default")
    parser.add_argument("--no-warm", dest="warm", action="store_false")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's own)")
    parser.add_argument("--only", choices=_PARTS, help="(internal)")
    choice = parser.parse_args()
    if choice.only:
        _one(choice)
        return
    with tempfile.TemporaryDirectory(dir=choice.folder) as name:
        _compare(choice, Path(name))


def _one(choice: argparse.Namespace) -> None:
    if choice.only == "make":
        with step():
            make(choice.folder, choice)
    elif choice.only == "peer":
        run_peer(choice.folder, choice)
    elif choice.only == "same":
        run_ours(choice.folder, choice, "same", "best")
    elif choice.only == "same_float32":
        run_ours(choice.folder, choice, "same", "best", exact=True)
    else:
        run_ours(choice.folder, choice, "default", "standard")


def _compare(choice: argparse.Namespace, folder: Path) -> None:
    os.environ["PARTICLESEG_DATA_DIR"] = str(folder / "data")

    def apart(what: str) -> dict[str, Any]:
        arguments = [*sys.argv[1:], "--only", what, "--folder", str(folder)]
        return measured_apart(_MODULE, *arguments)

    apart("make")
    print(
        f"{choice.size}³ voxels, particles of {choice.diameter:g} voxels, network of "
        f"{choice.features} channels, patches of {choice.patch}³, {choice.folds} fold(s), "
        f"{machine()}\n\n{'':48}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}{'particles':>11}"
        f"{'card MB':>10}",
        flush=True,
    )
    same = _row("ours, same weights, eight mirrored copies", apart("same"))
    sides = [("same weights", same, "same")]
    if choice.device == "cpu":
        # particleseg3d computes in half precision on a card, and so does ours.
        exact = _row("ours, the same in float32", apart("same_float32"))
        sides.append(("same weights, float32", exact, "same_float32"))
    default = _row("ours, default model and preset", apart("default"))
    peer = apart("peer")
    peer["particles"] = int(np.count_nonzero(np.unique(np.load(folder / "peer.npy"))))
    _row(f"particleseg3d, eight mirrored copies, {choice.folds} fold(s)", peer)
    print()
    sides.append(("our default model against these folds", default, "default"))
    for title, ours, name in sides:
        print(
            f"{title}: {peer['wall_s'] / ours['wall_s']:.1f} × as fast "
            f"({peer['cpu_s'] / ours['cpu_s']:.1f} × in processor seconds), memory "
            f"{peer['peak_bytes'] / ours['peak_bytes']:.1f} ×, "
            f"F1_match {_agreement(folder, 'peer', name):.4f}",
            flush=True,
        )
    print("\nF1_match against the true particles of the image:")
    for name in ("peer", *(name for _, _, name in sides)):
        print(f"    {name:16}{_agreement(folder, 'truth', name):.4f}", flush=True)


def _agreement(folder: Path, reference: str, name: str) -> float:
    from particleseg_app.evaluation import evaluate

    one, other = np.load(folder / f"{reference}.npy"), np.load(folder / f"{name}.npy")
    return float(evaluate(one, other, Progress(), CancelToken()).f1_match)


def _row(title: str, found: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{title:48}{found['wall_s']:10.2f}{found['cpu_s']:10.2f}"
        f"{found['peak_bytes'] / 1e6:10.0f}{found.get('particles', 0):11}"
        f"{found.get('card_bytes', 0) / 1e6:10.0f}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()
