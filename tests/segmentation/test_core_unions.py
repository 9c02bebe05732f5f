"""Parts united at their necks: block by block against the plain statement, and the rule itself."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import ModelError
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import (
    BORDER,
    CORE,
    grow_by_layers,
    numbered_by_first_voxel,
    small_cores,
)
from particleseg_app.segmentation.chunk_sums import decided_classes
from particleseg_app.segmentation.contact_counts import contact_counts
from particleseg_app.segmentation.core_unions import (
    FACTORS,
    FEATURE_COUNT,
    GRADES,
    RULE_NAME,
    SCAN_FEATURE_COUNT,
    SCAN_WEIGHT_COUNT,
    WEIGHT_COUNT,
    Contacts,
    UnionRule,
    features,
    figures_of_scan,
    scan_features,
    scan_terms,
    union_rule_of,
)
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.parts_in_memory import united_parts
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.labels import open_labels
from tests.models.tiny_model import uniting_what_is_nearly_core, write_tiny_model
from tests.segmentation.class_volumes import Classes, blob_classes


def graded(classes: np.ndarray, seed: int) -> np.ndarray:
    """The classes with a random grade at each voxel of the border."""
    grades = np.random.default_rng(seed).integers(0, GRADES, classes.shape).astype(np.uint8)
    return np.where(classes == BORDER, BORDER + grades, classes).astype(np.uint8)


def plain_contacts(labels: np.ndarray, classes: np.ndarray) -> Contacts:
    """Voxel by voxel, the slow way."""
    grade = np.where(classes == CORE, GRADES - 1, classes.astype(int) - BORDER)
    found: dict[tuple[int, int], list[int]] = {}
    for axis in range(3):
        low, high = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        lesser = np.minimum(np.moveaxis(grade, axis, 0)[:-1], np.moveaxis(grade, axis, 0)[1:])
        for place in zip(*np.nonzero((low != high) & (low > 0) & (high > 0)), strict=True):
            pair = tuple(sorted((int(low[place]), int(high[place]))))
            found.setdefault(pair, [0] * GRADES)[lesser[place]] += 1  # type: ignore[arg-type]
    pairs = sorted(found)
    return Contacts(
        np.array(pairs, np.int64).reshape(-1, 2),
        np.array([found[pair] for pair in pairs], np.int64).reshape(-1, GRADES),
        np.bincount(labels.ravel()),
    )


def plain_particles(classes: np.ndarray, rule: UnionRule) -> np.ndarray:
    """The whole volume in memory: cores, growth, unions, then numbers by the first voxel's place.

    The first voxel is that of a particle's first core, or of the whole of it without one.
    """
    cores = numbered_by_first_voxel(classes == CORE, connectivity=6)
    cores = np.where(np.isin(cores, small_cores(cores)), 0, cores)
    cores = numbers_by_first_voxel(cores)[cores]
    grown = grow_by_layers(cores, classes > 0)
    parts = int(cores.max(initial=0))
    contacts = plain_contacts(grown, classes)
    particle = rule.united(contacts, parts, rule.scan_figures(contacts, parts))
    seeds = particle[cores]
    coreless = numbered_by_first_voxel((classes > 0) & (grown == 0), connectivity=26)
    most = int(cores.max(initial=0))
    seeds = np.where(coreless > 0, coreless + most, seeds)
    labels = np.where(coreless > 0, coreless + most, particle[grown])
    return numbers_by_first_voxel(seeds)[labels]


def numbers_by_first_voxel(labels: np.ndarray) -> np.ndarray:
    """For each label 1…n in the order in which they first appear; 0 stays."""
    found, first = np.unique(labels, return_index=True)
    order = found[found > 0][np.argsort(first[found > 0], kind="stable")]
    numbers = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    numbers[order] = np.arange(1, order.size + 1)
    return numbers


def convert(
    classes: np.ndarray, block_shape: Shape, folder: Path, rule: UnionRule
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels, and what the rule saw of the whole volume's contacts."""
    of_scan: list[np.ndarray] = []
    particles_from_classes(
        Classes(classes), classes.shape, 1.0, folder / "work", folder / "labels.h5", 0.0,
        Progress(), CancelToken(), block_shape=block_shape, union_rule=rule,
        of_scan=of_scan.append,
    )  # fmt: skip
    with open_labels(folder / "labels.h5") as labels:
        return labels.read(Box.whole(labels.shape)), of_scan[0] if of_scan else None


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(4, 18)] * 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.6, 1.0, 2.0]),
    st.sampled_from([0.6, 0.9, 1.0]),
    st.sampled_from([0.1, 0.3, 0.6]),
    st.tuples(*[st.integers(2, 4)] * 3),
    st.sampled_from([-1.0, 0.0, 1.0]),
)
def test_any_blocks_unite_the_same_parts_as_the_whole_volume(
    shape: Shape,
    seed: int,
    sigma: float,
    fill: float,
    core: float,
    parts: Shape,
    intercept: float,
) -> None:
    classes = graded(blob_classes(shape, seed, sigma, fill, core), seed)
    z, y, x = (-(-n // count) for n, count in zip(shape, parts, strict=True))
    random = np.random.default_rng(seed)
    weights, of_scan = random.normal(0, 0.3, WEIGHT_COUNT), random.normal(0, 0.3, SCAN_WEIGHT_COUNT)
    weights[2] = of_scan[0] = 1.0
    alone = replace(uniting_what_is_nearly_core(1, intercept), weights=tuple(weights.tolist()))
    rule = replace(alone, scan_weights=tuple(of_scan.tolist()))
    with tempfile.TemporaryDirectory() as folder:
        found, of_run = convert(classes, (z, y, x), Path(folder), rule)
    np.testing.assert_array_equal(found, plain_particles(classes, rule))
    # In a window in memory the same, but for particles without a core; each contact by itself where
    # the figures of the scan are not known.
    for whole, figures in ((found, of_run), (plain_particles(classes, alone), None)):
        window = united_parts(classes, rule, figures)
        cored = window > 0
        both = np.unique(np.stack([whole[cored], window[cored]]), axis=1)
        assert both.shape[1] == np.unique(window[cored]).size == np.unique(whole[cored]).size


def two_parts(neck: int) -> np.ndarray:
    """Two cores in one foreground; between them a wall of plain border with a neck of `neck`²."""
    classes = np.zeros((20, 20, 40), np.uint8)
    classes[1:19, 1:19, 1:39] = BORDER
    classes[3:17, 3:17, 3:18] = classes[3:17, 3:17, 22:37] = CORE
    start = 10 - neck // 2
    classes[start : start + neck, start : start + neck, 18:22] = BORDER + 3
    return classes


@pytest.mark.parametrize("block_shape", [(20, 20, 40), (20, 20, 20), (7, 9, 11)])
def test_a_wide_neck_unites_and_a_narrow_one_does_not(block_shape: Shape, tmp_path: Path) -> None:
    rule = uniting_what_is_nearly_core(1, math.log(2.0))
    for neck, count in ((4, 2), (14, 1)):
        folder = tmp_path / str(neck)
        folder.mkdir()
        found, _ = convert(two_parts(neck), block_shape, folder, rule)
        assert found.max() == count
        assert set(np.unique(found[two_parts(neck) > 0])) == set(range(1, count + 1))


def test_what_a_rule_looks_at() -> None:
    contacts = Contacts(
        np.array([[1, 2]]), np.array([[10, 0, 5, 0, 0, 4]]), np.array([0, 1000, 8000])
    )
    areas = np.array([19, 9, 9, 4, 4, 4])
    expected = [*np.log((areas + 1) / 100), math.log(1000), math.log(1 / 8)]
    np.testing.assert_allclose(features(contacts)[0], expected)


def test_parts_of_parts_are_one_particle_with_the_least_label() -> None:
    pairs = np.array([[2, 5], [3, 4], [5, 6]])
    contacts = Contacts(pairs, np.full((3, GRADES), 50), np.full(8, 100))
    rule = uniting_what_is_nearly_core()
    assert rule.united(contacts, 7, None).tolist() == [0, 1, 2, 3, 3, 2, 2, 7]
    apart = Contacts(pairs, np.zeros((3, GRADES), int), np.full(8, 100))
    assert rule.united(apart, 7, None).tolist() == list(range(8))


def test_a_contact_is_judged_beside_the_others_of_its_scan() -> None:
    """The same doubtful contact: among many like it, and among walls of plain border."""
    doubtful, wall = [40, 10, 8, 8, 6, 4], [140, 0, 0, 0, 0, 0]
    of_scan = [1.0] + [0.0] * (SCAN_WEIGHT_COUNT - 1)
    of_scan[2 + 2] = 1.0  # the mean of the ln odds
    rule = replace(uniting_what_is_nearly_core(), scan_weights=tuple(of_scan))
    pairs = np.array([[i, i + 1] for i in range(1, 21)])

    def probability(others: list[int], parts: int | None) -> float:
        contacts = Contacts(pairs, np.array([doubtful, *[others] * 19]), np.full(22, 1000))
        of_scan = None if parts is None else rule.scan_figures(contacts, parts)
        return float(rule.probabilities(contacts, of_scan)[0])

    assert probability(wall, 21) < probability(doubtful, 21)
    assert probability(wall, None) == probability(doubtful, None)


def test_what_the_contacts_say_of_a_scan() -> None:
    odds = np.array([-2.0, 0.0, 2.0, 0.0])
    found = scan_features(odds, 5, 0.25)
    expected = [math.log(9 / 6), math.log((2 + 2.5) / 14), 0.0, math.sqrt(2), 1.4]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    terms = scan_terms(odds, found)
    assert terms.shape == (4, SCAN_WEIGHT_COUNT)
    np.testing.assert_allclose(terms[0], [-2, 4, *found, *(-2 * found)])


def test_a_block_may_have_more_pairs_than_there_is_room_for_at_first() -> None:
    labels = np.arange(1, 21**3 + 1, dtype=np.uint32).reshape(21, 21, 21)
    classes = np.full(labels.shape, BORDER + 2, np.uint8)
    pairs, faces = contact_counts(labels, classes, (20, 20, 20))
    assert len(pairs) == 3 * 20**3 and (np.diff(pairs[:, 0]) >= 0).all()
    assert (faces == [0, 0, 1, 0, 0, 0]).all()
    assert set(np.diff(pairs, axis=1).ravel().tolist()) == {1, 21, 21**2}


def test_grades_follow_the_share_of_core() -> None:
    border = 100_000
    cores = [border // factor + more for factor in FACTORS for more in (0, 1)] + [border]
    total = torch.zeros((3, 1, 1, len(cores)), dtype=torch.int32)
    total[1, 0, 0] = torch.tensor(cores)
    total[2] = border
    assert decided_classes(total)[0, 0].tolist() == [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, CORE]
    total[2] = 0
    assert (decided_classes(total) == CORE).all()
    total[0] = 3 * border
    assert not decided_classes(total).any()


def test_core_that_is_hardly_the_likeliest_becomes_border_and_stays_foreground() -> None:
    total = torch.tensor([[0, 0, 50, 0, 60], [200, 150, 100, 50, 50], [100, 100, 0, 60, 0]])
    total = total.int()[:, None, None]
    assert decided_classes(total)[0, 0].tolist() == [1, 1, 1, 7, 0]
    assert decided_classes(total, 2)[0, 0].tolist() == [7, 7, 7, 7, 0]
    total[1, 0, 0, :3] = torch.tensor([201, 201, 101])
    assert decided_classes(total, 2)[0, 0].tolist() == [1, 1, 1, 7, 0]


def test_the_bundled_models_say_when_parts_are_united(tmp_path: Path) -> None:
    for name in ("default", "light"):
        rule = union_rule_of(find_model(name))
        assert rule is not None
        # A wide neck of nearly core between parts of 1000 voxels, and the same without a core.
        neck = Contacts(
            np.array([[1, 2]]), np.array([[60, 10, 10, 10, 10, 40]]), np.array([0, 1000, 1000])
        )
        film = Contacts(
            np.array([[1, 2]]), np.array([[140, 0, 0, 0, 0, 0]]), np.array([0, 1000, 1000])
        )
        for one, united in ((neck, True), (film, False)):
            for of_scan in (None, rule.scan_figures(one, 2)):
                assert (rule.probabilities(one, of_scan)[0] > rule.least_probability) == united
    assert union_rule_of(write_tiny_model(tmp_path / "model")) is None


def test_figures_of_a_scan_are_read_from_a_summary_and_nothing_else() -> None:
    figures = [0.5, -1.0, -3.25, 2.0, 0.125]
    read = figures_of_scan(json.loads(json.dumps({"contacts_of_scan": figures})))
    assert read is not None and read.tolist() == figures
    for wrong in ({}, None, "x", figures[1:], [*figures[1:], "1"], [*figures[1:], math.nan]):
        assert figures_of_scan({"contacts_of_scan": wrong}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"weights": [1.0] * (WEIGHT_COUNT - 1)},
        {"weights": ["x"] * WEIGHT_COUNT},
        {"weights": [float("nan")] * WEIGHT_COUNT},
        {"weights": 7},
        {"spread": [0.0] * FEATURE_COUNT},
        {"least_probability": 0},
        {"core_factor": 0},
        {"core_factor": 1e300},
        {"core_factor": float("inf")},
        {"usual_share": 1.0},
        {"scan_low": [2.0] * SCAN_FEATURE_COUNT, "scan_high": [1.0] * SCAN_FEATURE_COUNT},
        {"scan_weights": [float("inf")] * SCAN_WEIGHT_COUNT},
    ],
)
def test_a_rule_that_is_none_is_refused_in_words(wrong: Any, tmp_path: Path) -> None:
    entry = write_tiny_model(tmp_path / "model")
    if wrong:
        wrong = uniting_what_is_nearly_core().as_dict() | wrong
    (entry.folder / RULE_NAME).write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(ModelError):
        union_rule_of(entry)
