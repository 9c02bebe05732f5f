"""The second look sees a noisy scan as its run did: what the run noted counts, nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from particleseg_app.durable_files import write_json
from particleseg_app.errors import RunError
from particleseg_app.models import find_model
from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review import queue
from particleseg_app.review.queue import find_cases
from particleseg_app.review.second_look import SecondLook
from particleseg_app.segmentation import RunSettings, denoised_scan
from particleseg_app.segmentation.core_unions import (
    RULE_NAME,
    SCAN_FEATURE_COUNT,
    each_contact_alone,
)
from particleseg_app.segmentation.denoised_scan import Denoising
from particleseg_app.segmentation.network_input import network_input
from tests.models.tiny_model import uniting_what_is_nearly_core, write_tiny_model
from tests.review.test_queue import Volume, ball

SHAPE = (40, 64, 80)


@pytest.fixture
def noisy(tmp_path):
    """A noisy scan, its labels and table, and the settings of a run that denoised it."""
    labels = np.zeros(SHAPE, np.uint32)
    for number, (y, x) in enumerate([(12, 12), (12, 34), (34, 12), (52, 66)], start=1):
        labels[ball((14, y, x), 7)] = number
    # Two balls with one label, which is doubtful.
    labels[ball((20, 40, 34), 7) | ball((20, 40, 46), 7)] = 5
    grey = 20000 + 6000 * (labels > 0) + np.random.default_rng(1).normal(0, 4000, SHAPE)
    scan, volume = Volume(np.clip(grey, 0, 65535).astype(np.uint16)), Volume(labels)
    table = measure_particles(volume, scan, 10.0, Progress(), CancelToken())
    model = write_tiny_model(tmp_path / "tiny", card_changes={"least_contrast_to_noise": 2.5})
    return scan, volume, table, RunSettings(10.0, 130.0, model=str(model.folder), device="cpu")


def origin_of(scan: Volume, asked: RunSettings) -> dict[str, Any]:
    card = find_model(asked.model).card
    shown = network_input(scan, card, asked, Progress(), CancelToken())
    assert shown.denoising is not None
    return {"denoising": shown.denoising.as_dict()}


def test_the_figures_of_the_run_are_used_again(noisy, monkeypatch):
    scan, labels, table, asked = noisy
    origin = origin_of(scan, asked)
    anew = find_cases(scan, labels, table, asked, Progress(), CancelToken())
    weights = []
    really = denoised_scan.denoised

    def noted(values: np.ndarray, weight: float) -> np.ndarray:
        weights.append(weight)
        return really(values, weight)

    def not_again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(denoised_scan, "measure_noise", not_again)
    monkeypatch.setattr(denoised_scan, "denoised", noted)
    again = find_cases(scan, labels, table, asked, Progress(), CancelToken(), origin=origin)
    assert [case.id for case in again] == [case.id for case in anew]
    assert set(weights) == {Denoising.from_dict(origin["denoising"]).weight}
    # A run that took the scan as it is, as all did before there was denoising.
    weights.clear()
    find_cases(scan, labels, table, asked, Progress(), CancelToken(), origin={})
    assert weights == []


def test_parts_are_united_as_in_the_run(noisy, monkeypatch):
    """By its figures of all contacts; where noise was taken off, by none."""
    scan, labels, table, asked = noisy
    rule = replace(uniting_what_is_nearly_core(), scan_intercept=2.0)
    write_json(find_model(asked.model).folder / RULE_NAME, rule.as_dict())
    origin, figures = origin_of(scan, asked), np.full(SCAN_FEATURE_COUNT, 0.5)
    used = []

    def noted(*arguments: Any) -> SecondLook:
        used.append(arguments[-2:])
        return SecondLook(*arguments)

    monkeypatch.setattr(queue, "SecondLook", noted)
    for begun in (origin, {}):
        find_cases(
            scan, labels, table, asked, Progress(), CancelToken(), origin=begun, of_scan=figures
        )
    assert used == [(each_contact_alone(rule), figures), (rule, figures)]


def test_damaged_figures_are_told(noisy):
    scan, labels, table, asked = noisy
    with pytest.raises(RunError, match="noise of its scan cannot be read"):
        find_cases(scan, labels, table, asked, Progress(), CancelToken(), origin={"denoising": {}})
