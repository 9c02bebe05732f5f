"""What engine and empty tiles change: accuracy, voxels and processor time on the labelled scans.

    python -m tests.benchmarks.network_engines [--cases N] [--preset PRESET]

Each scan is segmented with PyTorch, with OpenVINO in the precision this machine takes, and with
OpenVINO without passing empty tiles by. Prints one table. Processor seconds are those of the
whole run; the engines take turns on the same scans, so that their ratio holds on a busy
machine as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.evaluation import evaluate
from particleseg_app.models import choose_inference, find_model, open_predictor
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.independent_scans import ALL, LabelledScan
from tests.independent_scans.plain import cylinder, pack, render

VOXEL_SIZE_UM = 10.0
WAYS = {
    "PyTorch": {"inference": "torch"},
    "OpenVINO": {"inference": "openvino"},
    "OpenVINO, all tiles": {"inference": "openvino", "skip_background": False},
}


def cylinder_in_air(shape: tuple[int, int, int] = (96, 224, 224)) -> LabelledScan:
    """A slim cylinder with faint particles in a wide field of air: many tiles are empty."""
    random = np.random.default_rng(90_103)
    inside = cylinder(shape, 0.35)
    labels = pack(random, shape, 18, 0.3, 0.2, 0.5, cylinder(shape, 0.31))
    grey = render(random, labels, 12000, (15500, 24000), 1500, 0.8, outside=~inside)
    return LabelledScan("slim cylinder in air, faint", grey, labels, 18)


def main() -> None:
    parser = argparse.ArgumentParser(description="Engines and empty tiles on labelled scans.")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    entry = find_model("default")
    chosen = choose_inference(entry, "cpu", "openvino", CancelToken())
    print(f"OpenVINO computes in {chosen.inference.precision}. {chosen.note}\n")
    print(
        "| scan | particles | way | F1 | F1_match | F1_instance | voxels as PyTorch | tiles "
        "| passed by | processor s | labels as before |\n" + "|---" * 11 + "|"
    )
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for make in [cylinder_in_air, *ALL][: options.cases]:
        case = make()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tifffile.imwrite(folder / "scan.tif", case.grey)
            source = inspect_source(folder / "scan.tif")
            import_scan(source, folder / "scan.h5", Progress(), CancelToken())
            first: np.ndarray | None = None
            previous: np.ndarray | None = None
            for way, choices in WAYS.items():
                settings = RunSettings(
                    VOXEL_SIZE_UM,
                    case.diameter_voxels * VOXEL_SIZE_UM,
                    preset=options.preset,
                    device="cpu",
                    **choices,  # type: ignore[arg-type]
                )
                before = time.process_time()
                with open_scan(folder / "scan.h5") as scan:
                    result = segment(folder / way, scan, settings, Progress(), CancelToken())
                seconds[way].append(time.process_time() - before)
                with open_labels(result.labels_path) as labels:
                    found = labels.read(Box.whole(labels.shape))
                first = found if first is None else first
                score = evaluate(case.labels, found)
                same = float(((found > 0) == (first > 0)).mean())
                equal = "" if previous is None else str(np.array_equal(found, previous))
                previous = found
                print(
                    f"| {case.name} | {score.reference_count} | {way} | {score.f1:.4f} | "
                    f"{score.f1_match:.4f} | {score.f1_instance:.4f} | {same:.5f} | "
                    f"{result.summary['tiles']} | {result.summary['tiles_skipped']} | "
                    f"{seconds[way][-1]:.1f} | {equal} |",
                    flush=True,
                )
    print("\n| engine | processor seconds of a tile | against PyTorch |\n|---|---|---|")
    for way, each in tile_seconds(entry).items():
        print(f"| {way} | {each[0]:.2f} | {each[1]:.2f} |")


def tile_seconds(entry, rounds: int = 5) -> dict[str, tuple[float, float]]:  # type: ignore[no-untyped-def]
    """Processor seconds of one tile of the model's patch by every engine, taking turns."""
    import torch

    from particleseg_app.models import Inference
    from particleseg_app.models.inference import computes_bfloat16

    engines: dict[str, Inference | None] = {"PyTorch": None}
    for precision in ["float32", "bfloat16"] if computes_bfloat16() else ["float32"]:
        engines[f"OpenVINO, {precision}"] = Inference("openvino", precision)
    predictors = {
        way: open_predictor(entry, "cpu", False, CancelToken(), inference)
        for way, inference in engines.items()
    }
    tile = torch.from_numpy(
        np.random.default_rng(0).normal(size=(1, 1, *entry.card.patch_shape)).astype(np.float32)
    )
    spent: dict[str, list[float]] = {way: [] for way in predictors}
    for turn in range(rounds + 1):
        for way, predictor in predictors.items():
            before = time.process_time()
            predictor.predict(tile)
            if turn:
                spent[way].append(time.process_time() - before)
    middle = {way: float(np.median(each)) for way, each in spent.items()}
    return {way: (each, middle["PyTorch"] / each) for way, each in middle.items()}


if __name__ == "__main__":
    main()
