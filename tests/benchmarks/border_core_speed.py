"""Border-core classes into particles: block by block, in memory, and as particleseg3d does it.

    python -m tests.benchmarks.border_core_speed [--size 512] [--scene packed] [--peer] [--oracle]

Makes its own particles: `packed` (touching, 71 % filled, all of it one region) or `scattered` (most
stand alone, about a quarter filled). Each method runs in a process of its own on the same classes,
which lie in memory and are not counted; extra memory is the peak above the level before the step.
`--peer` adds particleseg3d 0.2.16's `border_core2instance`, with its own default of 4 processes,
and how well the particles agree (F1_match).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.border_core import (
    border_core_to_particles,
    labels_to_border_core,
)
from particleseg_app.segmentation.core_unions import union_rule_of
from particleseg_app.segmentation.particles_from_classes import (
    BLOCK_SHAPE,
    particles_from_classes,
)
from particleseg_app.units import Box, Shape
from tests.benchmarks.measuring import StageClock, machine, measured_apart, step

SCENES = {"packed": 0.62, "scattered": 0.45}
# Of the particles on average, and of the box that is repeated, in voxels.
_SPACING, _PERIOD = 36, 144
_MODULE = "tests.benchmarks.border_core_speed"


def made_classes(size: int, scene: str, border: float, seed: int = 0) -> np.ndarray:
    """Classes of irregular particles: cells around jittered points, cut by a smooth random field.

    A box of 64 particles that fits to itself on all sides, repeated.
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    axis = np.arange(_SPACING // 2, _PERIOD, _SPACING)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    points = (points + rng.uniform(-_SPACING / 3, _SPACING / 3, points.shape)) % _PERIOD
    tree = cKDTree(points, boxsize=_PERIOD)
    field = ndimage.zoom(
        rng.standard_normal((_PERIOD // 8,) * 3), 8, order=1, mode="grid-wrap", grid_mode=True
    )
    where = np.stack(np.meshgrid(*[np.arange(_PERIOD)] * 3, indexing="ij"), -1)
    distance, nearest = tree.query(where, workers=-1)
    labels = np.where(distance + 3 * field < SCENES[scene] * _SPACING, nearest + 1, 0)
    margin = int(border) + 2
    around = np.pad(labels.astype(np.uint32), margin, mode="wrap")
    classes = labels_to_border_core(around, border)[(slice(margin, -margin),) * 3]
    times = -(-size // _PERIOD)
    return np.tile(classes, (times,) * 3)[:size, :size, :size]


class InMemory:
    def __init__(self, classes: np.ndarray) -> None:
        self.classes = classes

    @property
    def shape(self) -> Shape:
        z, y, x = self.classes.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        return self.classes[box.slices]


def make(folder: Path, size: int, scene: str, border: float) -> None:
    np.save(folder / "classes.npy", np.ascontiguousarray(made_classes(size, scene, border)))


def run_ours(folder: Path, block: int) -> None:
    classes = np.load(folder / "classes.npy")

    def convert(classes: np.ndarray, clock: StageClock, block: int = block) -> int:
        return particles_from_classes(
            InMemory(classes),
            classes.shape,
            1.0,
            folder / "work",
            folder / "labels.h5",
            0.005,
            clock,
            CancelToken(),
            block_shape=(block,) * 3,
            union_rule=union_rule_of(find_model("default")),
        )

    # Compiles the loops: with several blocks, so that those across blocks are among them.
    convert(classes[:48, :48, :48], StageClock(), 24)
    clock = StageClock()
    with step() as found:
        found["particles"] = convert(classes, clock)
    print_stages(clock)


def print_stages(clock: StageClock) -> None:
    for stage, (wall, cpu, count) in clock.seconds().items():
        print(f"    {f'{stage} ({count})':44}{wall:9.2f}{cpu:9.2f}")


def run_oracle(folder: Path) -> None:
    classes = np.load(folder / "classes.npy")
    with step() as found:
        found["particles"] = int(border_core_to_particles(classes).max())


def run_peer(folder: Path, processes: int) -> None:
    from tests.benchmarks.particleseg3d_peer import prepare

    prepare()
    from particleseg3d.inference.border_core2instance import border_core2instance

    classes = np.load(folder / "classes.npy")
    with step() as found:
        labels, count = border_core2instance(
            classes, str(folder / "peer_tmp.zarr"), processes or None, progressbar=False
        )
        found["particles"] = int(count)
    np.save(folder / "peer.npy", labels)


def agreement(folder: Path) -> float:
    """F1_match between our particles and the peer's (its mask tells which labels are small)."""
    from particleseg_app.evaluation import evaluate
    from particleseg_app.progress import Progress
    from particleseg_app.volumes.labels import open_labels

    with open_labels(folder / "labels.h5") as labels:
        ours = labels.read(Box.whole(labels.shape))
    peer = np.load(folder / "peer.npy").astype(np.uint32)
    return float(evaluate(peer, ours, Progress(), CancelToken()).f1_match)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scene", choices=SCENES, default="packed")
    parser.add_argument("--block", type=int, default=BLOCK_SHAPE[0])
    parser.add_argument("--border", type=float, default=4)
    parser.add_argument("--oracle", action="store_true", help="the whole volume in memory, too")
    parser.add_argument("--peer", action="store_true", help="particleseg3d 0.2.16, too")
    parser.add_argument("--peer-processes", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's own)")
    parser.add_argument("--only", choices=["make", "ours", "oracle", "peer"], help="(internal)")
    choice = parser.parse_args()
    if choice.only:
        _one(choice)
        return
    with tempfile.TemporaryDirectory(dir=choice.folder) as name:
        _compare(choice, Path(name))


def _one(choice: argparse.Namespace) -> None:
    if choice.only == "make":
        with step():
            make(choice.folder, choice.size, choice.scene, choice.border)
    elif choice.only == "ours":
        run_ours(choice.folder, choice.block)
    elif choice.only == "oracle":
        run_oracle(choice.folder)
    else:
        run_peer(choice.folder, choice.peer_processes)


def _compare(choice: argparse.Namespace, folder: Path) -> None:
    def apart(what: str) -> dict[str, Any]:
        arguments = [*sys.argv[1:], "--only", what, "--folder", str(folder)]
        return measured_apart(_MODULE, *arguments)

    apart("make")
    classes = np.load(folder / "classes.npy", mmap_mode="r")
    print(
        f"{choice.size}³ voxels, {choice.scene}, {np.mean(classes > 0):.0%} filled, "
        f"{np.mean(classes == 2):.0%} border, blocks of {choice.block}³, {machine()}\n"
    )
    print(f"{'':48}{'wall s':>9}{'CPU s':>9}{'MiB':>9}{'particles':>11}", flush=True)
    ours = _row("block by block on disk", apart("ours"))
    if choice.oracle:
        _row("in memory (plain reference)", apart("oracle"))
    if choice.peer:
        peer = _row(f"particleseg3d, {choice.peer_processes} processes", apart("peer"))
        ratios = (peer[name] / ours[name] for name in ("wall_s", "cpu_s", "extra_bytes"))
        print(f"{'particleseg3d / ours':48}" + "".join(f"{ratio:>8.1f}×" for ratio in ratios))
        print(f"F1_match between the two: {agreement(folder):.4f}", flush=True)


def _row(title: str, found: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{title:48}{found['wall_s']:9.2f}{found['cpu_s']:9.2f}"
        f"{found['extra_bytes'] / 2**20:9.0f}{found['particles']:11}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()
