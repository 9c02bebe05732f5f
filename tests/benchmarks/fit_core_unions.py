"""Fits the rule by which parts of one particle are united, and says what it gains.

    python -m tests.benchmarks.fit_core_unions MODEL [--scenes 400] [--core-factor 2] [--write]

MODEL is a model's name. Scenes of the training generator, with seeds of their own, are segmented
with the preset standard up to the parts that grew from the cores; the truth says which parts that
touch are of one particle. In some of them the stated diameter is misjudged, some are noisy. The
table is cross-validated: each half of the scenes is united by the rule of the other half.
With `--core-factor 1` the first row is that of a run without unions. `--write` puts the rule of all
scenes into the model's folder. Classes are kept in the benchmark cache, so that a fit that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import io
import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile

from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import write_bytes, write_json
from particleseg_app.evaluation import count_overlaps, score
from particleseg_app.models import choose_inference, find_model, open_predictor
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.class_pieces import write_array
from particleseg_app.segmentation.connected_regions import connected_regions
from particleseg_app.segmentation.core_unions import (
    RULE_NAME,
    SCAN_FEATURE_COUNT,
    SCAN_WEIGHT_COUNT,
    Contacts,
    UnionRule,
    features,
    scan_features,
    scan_terms,
    with_products,
)
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.network_stage import NetworkStage
from particleseg_app.segmentation.parts_in_memory import contacts_of, grown_parts
from particleseg_app.segmentation.plan import plan_network_run
from particleseg_app.training.calibration import without_small
from particleseg_app.training.scenes import simulate_scan
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.benchmarks.measuring import machine
from tests.benchmarks.slice_network import cache_folder

FIRST_SEED = 910_000_000
VOXEL_SIZE_UM = 10.0
# Presets in turn: those whose particles have necks more often than others.
PRESETS = (
    *["varied"] * 6, *["sintered"] * 2, *["branched"] * 3, *["plates"] * 2, "needles",
    *["touching"] * 2, *["settled_angular"] * 2, "wide", *["unsharp"] * 2, "fragments", "zoned",
    "spaced", "settled",
)  # fmt: skip
DIAMETERS = (9, 12, 16, 22, 30)  # voxels of the scan
# In these scenes the stated diameter is so many times the true one. One that is stated too small
# harms less, and such a run takes ten times as long.
MISJUDGED_SCENES, MISJUDGED = range(160, 240), 1.5
NOISY_SCENES = range(240, 288)
# A part of several particles is neither one's nor the other's.
LEAST_PURE = 0.6
RIDGE, SCAN_RIDGE = 0.1, 1.0  # inverse strength, of standardised terms
# What is said of a scan is kept between these quantiles of the scenes.
SCAN_LIMITS = (0.05, 0.95)


@dataclass(frozen=True)
class Scene:
    """What the rule learns from one scan; labels and reference at the scan's grid."""

    contacts: Contacts
    same: np.ndarray  # whether the two parts of each pair are of one particle
    pure: np.ndarray  # the lesser share that the particle has of either part
    parts: np.ndarray
    count: int
    reference: np.ndarray

    def judged(self, rule: UnionRule | None) -> np.ndarray:
        """Mergers, splitters, reference particles; F1_match and F1_instance."""
        labels = self.parts
        if rule is not None:
            of_scan = rule.scan_figures(self.contacts, self.count)
            united = rule.united(self.contacts, self.count, of_scan)
            rest = np.arange(self.count + 1, int(labels.max()) + 1)
            labels = np.concatenate([united, rest])[labels].astype(np.uint32)
        result = score(count_overlaps(self.reference, without_small(labels)))
        count = result.reference_count
        return np.array(
            [result.merger_ratio * count, result.splitter_ratio * count, count,
             result.f1_match, result.f1_instance]
        )  # fmt: skip


def classes_of_scene(name: str, number: int, core_factor: int) -> np.ndarray:
    """Classes of a scene at working scale, as a run of the model decides on them.

    Kept in the cache under the model's fingerprint.
    """
    entry = find_model(name)
    path = cache_folder() / "unions" / f"{entry.fingerprint()[:12]}_{core_factor}_{number}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    grey, _, diameter = scene(number)
    diameter *= MISJUDGED if number in MISJUDGED_SCENES else 1.0
    settings = RunSettings(VOXEL_SIZE_UM, diameter * VOXEL_SIZE_UM, model=name)
    progress, cancel = Progress(), CancelToken()
    with TemporaryDirectory() as folder:
        tifffile.imwrite(Path(folder) / "scan.tif", grey)
        source = inspect_source(Path(folder) / "scan.tif")
        import_scan(source, Path(folder) / "scan.h5", progress, cancel)
        with open_scan(Path(folder) / "scan.h5") as scan:
            shown = network_input(scan, entry.card, settings, progress, cancel, None)
            plan = plan_network_run(scan.shape, settings, entry.card)
            plan = replace(plan, core_factor=core_factor)
            engine = choose_inference(entry, "cpu", "openvino", cancel).inference
            predictor = open_predictor(entry, "cpu", plan.mirroring, cancel, engine)
            stage = NetworkStage(
                plan, shown.volume, shown.scaling, predictor, Path(folder) / "pieces",
                shown.background,
            )  # fmt: skip
            classes = stage.run(progress, cancel).read(Box.whole(plan.working_shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_array(path, classes)
    return classes


def scene(number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Grey values and labels of a scene, and its mean diameter in voxels."""
    rng = np.random.default_rng([77, number])
    diameter = float(rng.choice(DIAMETERS) * rng.uniform(0.9, 1.1))
    edge = int(np.clip(5.5 * diameter, 64, 128)) // 8 * 8
    preset = "noisy" if number in NOISY_SCENES else PRESETS[number % len(PRESETS)]
    made = simulate_scan(preset, FIRST_SEED + number, (edge,) * 3, diameter)
    return made.grey, made.labels, diameter


def reference_of(number: int) -> np.ndarray:
    """Labels of a scene, kept in the cache."""
    path = cache_folder() / "unions" / f"reference_{number}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as data:
            return np.asarray(data["labels"])
    labels = scene(number)[1]
    packed = io.BytesIO()
    np.savez_compressed(packed, labels=labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, packed.getvalue())
    return labels


def looked_at(arguments: tuple[str, int, int]) -> Scene | None:
    """One scene, segmented and compared; None where it has hardly a particle."""
    name, number, core_factor = arguments
    reference = reference_of(number)
    if reference.max() < 3:
        return None
    classes = classes_of_scene(name, number, core_factor)
    parts, count = grown_parts(classes)
    contacts = contacts_of(parts, count, classes)
    owner, share = _owners(parts, reference, count)
    first, second = contacts.pairs.T
    same = (owner[first] == owner[second]) & (owner[first] > 0)
    coreless, _ = connected_regions((classes > 0) & (parts == 0), 26)
    labels = np.where(coreless > 0, coreless + count, parts).astype(np.uint32)
    nearest = _nearest(parts.shape, reference.shape)
    return Scene(
        contacts, same, np.minimum(share[first], share[second]),
        labels[nearest], count, reference,
    )  # fmt: skip


def _nearest(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Indices that bring a volume of `shape` to the grid `wanted`."""
    sides = zip(shape, wanted, strict=True)
    return np.ix_(*((2 * np.arange(w) + 1) * n // (2 * w) for n, w in sides))


def _owners(parts: np.ndarray, reference: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each part the particle that has most of it, and which share."""
    there = reference[_nearest(reference.shape, parts.shape)]
    both = (parts > 0) & (there > 0)
    width = int(reference.max()) + 1
    found, voxels = np.unique(
        parts[both].astype(np.int64) * width + there[both], return_counts=True
    )
    order = np.argsort(voxels, kind="stable")  # the largest of each part comes last
    owner, share = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    owner[found[order] // width] = found[order] % width
    share[found[order] // width] = voxels[order]
    return owner, share / np.maximum(1, np.bincount(parts.ravel(), minlength=count + 1))


def fitted(scenes: list[Scene], core_factor: int, least_probability: float) -> UnionRule:
    """The rule that tells the pairs of `scenes` apart: each by itself, then among its scan's."""
    scenes = [scene for scene in scenes if scene.same.size]
    known = [scene.pure >= LEAST_PURE for scene in scenes]
    same = np.concatenate([s.same[k] for s, k in zip(scenes, known, strict=True)])
    values = np.concatenate([features(s.contacts)[k] for s, k in zip(scenes, known, strict=True)])
    centre, spread = (_numbers(row) for row in (values.mean(axis=0), values.std(axis=0)))
    weights, intercept = _logistic(with_products((values - centre) / spread), same, RIDGE)
    usual_share = round(float(same.mean()), 6)
    unbounded = (1e9,) * SCAN_FEATURE_COUNT
    rule = UnionRule(
        centre, spread, weights, intercept, usual_share, tuple(-n for n in unbounded), unbounded,
        (0.0,) * SCAN_WEIGHT_COUNT, 0.0, least_probability, core_factor,
    )  # fmt: skip
    log_odds = [rule.by_itself(scene.contacts) for scene in scenes]
    of_scans = np.array(
        [
            scan_features(odds, s.count, usual_share)
            for odds, s in zip(log_odds, scenes, strict=True)
        ]
    )
    low, high = (_numbers(row) for row in np.quantile(of_scans, SCAN_LIMITS, axis=0))
    terms = [
        scan_terms(odds, np.clip(of_scan, low, high))[k]
        for odds, of_scan, k in zip(log_odds, of_scans, known, strict=True)
    ]
    scan_weights, scan_intercept = _logistic(np.concatenate(terms), same, SCAN_RIDGE)
    return replace(
        rule, scan_low=low, scan_high=high, scan_weights=scan_weights, scan_intercept=scan_intercept
    )


def _logistic(terms: np.ndarray, same: np.ndarray, ridge: float) -> tuple[tuple[float, ...], float]:
    """Weights of terms (n, m) and intercept, by a penalty on the weights of standardised terms."""
    from sklearn.linear_model import LogisticRegression

    middle, wide = terms.mean(axis=0), terms.std(axis=0)
    model = LogisticRegression(C=ridge, max_iter=10_000).fit((terms - middle) / wide, same)
    weights = model.coef_[0] / wide
    return _numbers(weights), round(float(model.intercept_[0] - weights @ middle), 6)


def _numbers(row: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in row)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--core-factor", type=int, default=2)
    parser.add_argument("--least-probability", type=float, default=0.4)
    parser.add_argument("--write", action="store_true", help="put the rule into the model's folder")
    options = parser.parse_args()
    asked = [(options.model, number) for number in range(options.scenes)]
    workers = ProcessPoolExecutor(usable_cores(), get_context("spawn"), _one_thread)
    with workers as pool:
        all_looked_at = pool.map(looked_at, [(*one, options.core_factor) for one in asked])
        scenes = [one for one in all_looked_at if one is not None]
    pairs = sum(len(one.same) for one in scenes)
    print(
        f"{len(scenes)} scenes, {pairs} pairs, {sum(int(s.same.sum()) for s in scenes)} of them one"
    )
    rules = [
        fitted(scenes[1 - half :: 2], options.core_factor, options.least_probability)
        for half in (0, 1)
    ]
    other_half = itertools.cycle(rules)
    rows = {
        "nothing united": [one.judged(None) for one in scenes],
        "parts united": [one.judged(rule) for one, rule in zip(scenes, other_half, strict=False)],
    }
    print("| | merger | splitter | F1_match | F1_instance |\n|---|---|---|---|---|")
    for title, figures in rows.items():
        total, mean = np.sum(figures, axis=0), np.mean(figures, axis=0)
        print(
            f"| {title} | {total[0] / total[2]:.4f} | {total[1] / total[2]:.4f} | {mean[3]:.3f} "
            f"| {mean[4]:.3f} |"
        )
    print(machine())
    if options.write:
        rule = fitted(scenes, options.core_factor, options.least_probability)
        write_json(find_model(options.model).folder / RULE_NAME, rule.as_dict())


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
