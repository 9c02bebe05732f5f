"""What overlapping tiles and mirrored copies are worth, and what they cost.

    python -m tests.benchmarks.presets [--model NAME] [--edges-only | --best]

First table: how often a network decides otherwise on core near the edge of a tile than it does with
more of the scan around it, by the distance from that edge. Second table: the presets on a scan of
hundreds of pressed fragments, many tiles wide, beside tiles of the model's patch that overlap by
half, as every run had until November 2026; with `--best` the preset best, too, which takes eight
times as long as standard.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy import ndimage

from particleseg_app.evaluation import count_overlaps, score
from particleseg_app.models import ModelEntry, choose_inference, find_model, open_predictor
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation import plan
from particleseg_app.segmentation.working_scale import read_at_working_scale, working_shape
from particleseg_app.units import Box
from particleseg_app.volumes import open_scan
from tests.benchmarks.accuracy_methods import Workplace
from tests.independent_scans import LabelledScan, bodies, rendering, scene

SHAPE = (232, 248, 248)
DIAMETER = 24.0
MATRIX, LEVELS = 0.3, (0.75, 1.0)
WIDE, NARROW = 208, 144  # voxels along each axis
BAND = 4  # voxels


def dense_scan() -> LabelledScan:
    """Fragments, pebbles and plates, three in four touching, in a scan of common quality."""
    random = np.random.default_rng(8_123_456)
    make = bodies.mixture((bodies.fragment, 0.5), (bodies.pebble, 0.3), (bodies.plate, 0.2))
    sizes = scene.log_normal(DIAMETER, 0.3)
    labels = scene.scattered(random, SHAPE, make, sizes, 0.35, 0.75, 0.3).finished()
    grey = rendering.minerals(random, labels, MATRIX, LEVELS, None, 0.3, 3.0, 0.05)
    rendering.contact_gaps(random, grey, labels, MATRIX)
    grey = ndimage.gaussian_filter(grey, 0.9) + rendering.noise(random, SHAPE, 0.08, 0.6)
    low, high = np.percentile(grey, [0.01, 99.99])
    return LabelledScan("dense", rendering.sixteen_bit(grey, low, high), labels, DIAMETER)


def edge_lines(place: Workplace, entry: ModelEntry) -> list[str]:
    """Share of voxels on which a tile and one that reaches 32 voxels further differ."""
    inference = choose_inference(entry, "cpu", "auto", CancelToken()).inference
    predictor = open_predictor(entry, "cpu", False, CancelToken(), inference)
    with open_scan(place.folder / "scan.h5") as scan:
        scaling = entry.card.normalisation.for_scan(scan.statistics)
        shape = working_shape(scan.shape, entry.card.target_diameter_voxels / DIAMETER)
        grey = read_at_working_scale(scan, shape, Box.whole(shape), scaling, torch.device("cpu"))
    inside = slice((WIDE - NARROW) // 2, (WIDE + NARROW) // 2)
    along = np.minimum(np.arange(NARROW), np.arange(NARROW)[::-1])
    distance = np.minimum.reduce(np.meshgrid(along, along, along, indexing="ij"))
    bands = distance // BAND
    voxels, core, any_class = (np.zeros(bands.max() + 1) for _ in range(3))
    for corner in ((0, 0, 0), tuple(n - WIDE for n in shape)):
        wide = grey[tuple(slice(a, a + WIDE) for a in corner)]
        narrow = wide[inside, inside, inside].contiguous()
        context = predictor.predict(wide[None, None])[0, :, inside, inside, inside].argmax(0)
        alone = predictor.predict(narrow[None, None])[0].argmax(0)
        voxels += np.bincount(bands.ravel())
        otherwise = ((context == 1) != (alone == 1)).numpy()
        core += np.bincount(bands.ravel(), otherwise.ravel())
        any_class += np.bincount(bands.ravel(), (context != alone).numpy().ravel())
    lines = [
        "| voxels from the edge of the tile | otherwise on core, % | of another class, % |",
        "|---|---|---|",
    ]
    for band in range(0, 12):
        shares = (100 * core[band] / voxels[band], 100 * any_class[band] / voxels[band])
        first = BAND * band
        lines.append(f"| {first} to {first + BAND - 1} | {shares[0]:.3f} | {shares[1]:.3f} |")
    return lines


def preset_lines(place: Workplace, entry: ModelEntry, presets: tuple[str, ...]) -> list[str]:
    lines = [
        "| tiles | F1_match | F1_instance | mergers | splitters | passes over a voxel | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (*presets, "half"):
        settings = place.settings(model=entry.name, preset="standard" if name == "half" else name)
        as_before = replace(entry, card=replace(entry.card, longest_tile_edge=0))
        chosen = as_before if name == "half" else entry
        planned = plan.plan_network_run(place.case.grey.shape, settings, chosen.card)
        passes = planned.tile_count * np.prod(planned.tile_shape) / np.prod(planned.working_shape)
        passes *= 8 if planned.mirroring else 1
        began = time.perf_counter()
        with mock.patch("particleseg_app.segmentation.run.find_model", lambda _, e=chosen: e):
            labels = place.labels(settings)
        seconds = time.perf_counter() - began
        found = score(count_overlaps(place.case.labels, labels))
        title = f"{entry.card.patch_shape[0]}³, half" if name == "half" else f"*{name}*"
        lines.append(
            f"| {title} | {found.f1_match:.3f} | {found.f1_instance:.3f} "
            f"| {round(found.merger_ratio * found.reference_count)} "
            f"| {round(found.splitter_ratio * found.reference_count)} "
            f"| {passes:.1f} | {seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    return [*lines, "", f"{len(np.unique(place.case.labels)) - 1} particles."]


def main() -> None:
    parser = argparse.ArgumentParser(description="What overlap and mirroring are worth.")
    parser.add_argument("--model", default="default")
    parser.add_argument("--edges-only", action="store_true")
    parser.add_argument("--best", action="store_true")
    options = parser.parse_args()
    presets = ("fast", "standard", *(["best"] if options.best else []))
    entry = find_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(dense_scan(), Path(folder))
        print("\n".join(edge_lines(place, entry)), flush=True)
        if not options.edges_only:
            print("\n" + "\n".join(preset_lines(place, entry, presets)))


if __name__ == "__main__":
    main()
