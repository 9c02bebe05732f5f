"""The network's second look at windows of a scan."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from particleseg_app.errors import RunError
from particleseg_app.models import GreyScaling
from particleseg_app.review import second_look
from particleseg_app.review.network_evidence import (
    pair_network_evidence,
    particle_network_evidence,
)
from particleseg_app.review.second_look import SecondLook
from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.segmentation.core_unions import SCAN_FEATURE_COUNT, SCAN_WEIGHT_COUNT
from particleseg_app.segmentation.failures import check_numbers
from particleseg_app.units import Box
from tests.models.tiny_model import uniting_what_is_nearly_core

SHAPE = (32, 48, 64)
TILE = (32, 32, 32)


class Volume:
    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def read(self, box):
        return self.values[box.slices].copy()


class VoxelByVoxel:
    """Decides by the grey value alone: below 1 background, then border, from 2 on core."""

    device = torch.device("cpu")

    def __init__(self):
        self.shapes = []

    def predict(self, tiles):
        self.shapes.append(tuple(tiles.shape[2:]))
        classes = torch.where(tiles[:, 0] < 0.5, 0, torch.where(tiles[:, 0] < 1.5, 2, 1))
        return torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float() * 0.94 + 0.02


def look(classes, labels=None, working_shape=SHAPE):
    grey = np.choose(classes, [0.0, 2.0, 1.0]).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint32) if labels is None else labels
    scaling = GreyScaling(-10.0, 10.0, 0.0, 1.0)
    predictor = VoxelByVoxel()
    made = SecondLook(Volume(grey), Volume(labels), working_shape, TILE, scaling, predictor)
    return made, predictor


@pytest.mark.parametrize(
    "box",
    [
        Box((0, 0, 0), (20, 24, 27)),
        Box((8, 20, 40), (32, 47, 64)),
        Box((4, 10, 20), (30, 36, 46)),
        Box((0, 0, 0), SHAPE),
    ],
)
def test_both_predictions_are_of_the_very_window(box):
    classes = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    made, predictor = look(classes)
    window = made.window(box)
    for shares in window.shares:
        assert (shares.argmax(axis=0) == classes[box.slices]).all()
    assert set(predictor.shapes) == {TILE}


def test_the_second_prediction_sees_another_grid_where_there_is_room():
    made, _ = look(np.zeros(SHAPE, np.uint8))
    read = []
    made.scan.read = lambda box: read.append(box) or np.zeros(box.shape, np.float32)
    made.window(Box((0, 10, 20), (20, 30, 40)))
    assert read[0].start[1:] != read[1].start[1:]


def two_cores():
    """A brick with two cores, a border all around and between them."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[4:20, 8:24, 8:40] = 2
    classes[7:17, 11:21, 11:22] = 1
    classes[7:17, 11:21, 26:37] = 1
    return classes


def test_particles_of_a_window_are_those_of_a_run():
    made, _ = look(two_cores())
    window = made.window(Box((0, 0, 0), SHAPE))
    expected = border_core_to_particles(two_cores())
    for parts in window.parts:
        assert ((parts > 0) == (expected > 0)).all()
        both = np.unique(np.stack([parts[parts > 0], expected[parts > 0]]), axis=1)
        assert both.shape[1] == 2


class NearlyCore(VoxelByVoxel):
    """Sure of border, but for a wide neck between the two cores that is nearly core."""

    def predict(self, tiles):
        grey = tiles[:, :1]
        neck, border = (grey > 1.2) & (grey < 1.5), (grey > 0.5) & (grey < 1.2)
        shares = super().predict(tiles)
        for where, share in ((neck, (0.02, 0.45, 0.53)), (border, (0.019, 0.001, 0.98))):
            shares = torch.where(where, torch.tensor(share)[:, None, None, None], shares)
        return shares


def with_neck():
    made, _ = look(two_cores(), (two_cores() > 0).astype(np.uint32))
    made.scan.values[7:17, 11:21, 22:26] = 1.3
    made.predictor = NearlyCore()
    return made


def test_parts_that_a_run_unites_are_no_second_part():
    made = with_neck()
    window = made.window(Box((0, 0, 0), SHAPE))
    assert particle_network_evidence(window, 1, window.margin)[0]["second_part"] > 0.4
    made = with_neck()
    made._union_rule = uniting_what_is_nearly_core(2, math.log(3))
    window = made.window(Box((0, 0, 0), SHAPE))
    assert particle_network_evidence(window, 1, window.margin)[0]["second_part"] == 0
    # A wall of plain border stays one.
    made = with_neck()
    made._union_rule = uniting_what_is_nearly_core(2, math.log(3))
    made.scan.values[7:17, 11:21, 22:26] = 1.0
    window = made.window(Box((0, 0, 0), SHAPE))
    assert particle_network_evidence(window, 1, window.margin)[0]["second_part"] > 0.4


def test_what_a_second_part_is_depends_on_the_contacts_of_the_scan():
    made = with_neck()
    weights = [1.0, 0.0, 1.0] + [0.0] * (SCAN_WEIGHT_COUNT - 3)  # the first figure counts, too
    rule = uniting_what_is_nearly_core(2, math.log(3))
    made._union_rule = replace(rule, scan_weights=tuple(weights))
    for first, parts in ((-9.0, 2), (0.0, 1)):
        made._of_scan = np.array([first] + [0.0] * (SCAN_FEATURE_COUNT - 1))
        window = made.window(Box((0, 0, 0), SHAPE))
        assert [int(labels.max()) for labels in window.parts] == [parts, parts]


def test_a_merger_shows_two_cores_and_a_second_part():
    labels = (two_cores() > 0).astype(np.uint32)
    made, _ = look(two_cores(), labels)
    window = made.window(Box((0, 0, 0), SHAPE))
    evidence, points = particle_network_evidence(window, 1, window.margin)
    assert evidence["second_part"] == pytest.approx(0.48, abs=0.04)
    assert evidence["core_saddle"] < 0 < evidence["core_depth"]
    assert evidence["core_lobe_share"] > 0.4
    assert sorted(x > 23.5 for _, _, x in points) == [False, True]
    one, none = particle_network_evidence(made.window(Box((0, 0, 0), SHAPE)), 7, window.margin)
    assert one == {} and none == []


def test_a_splitter_shows_core_across_the_contact():
    classes = np.zeros(SHAPE, np.uint8)
    classes[4:20, 8:24, 8:40] = 2
    classes[7:17, 11:21, 11:37] = 1
    labels = (classes > 0).astype(np.uint32)
    labels[:, :, 24:] *= 2
    made, _ = look(classes, labels)
    window = made.window(Box((0, 0, 0), SHAPE))
    split = pair_network_evidence(window, (1, 2), window.margin)
    made, _ = look(two_cores(), labels)
    window = made.window(Box((0, 0, 0), SHAPE))
    right = pair_network_evidence(window, (1, 2), window.margin)
    assert split["joined"] == pytest.approx(1.0)
    assert right["joined"] < 0.2
    assert split["contact_core_margin"] > 0 > right["contact_core_margin"]
    assert pair_network_evidence(window, (1, 9), window.margin) == {}


class WithoutNumbers(VoxelByVoxel):
    """Answers as a faulty card does, or half precision that overflows."""

    def predict(self, tiles):
        return super().predict(tiles) * float("nan")


def test_an_answer_that_is_no_number_is_refused_in_words():
    made, _ = look(two_cores())
    made.predictor = WithoutNumbers()
    with pytest.raises(RunError, match="no number"):
        made.window(Box((0, 0, 0), SHAPE))


def test_the_processor_takes_over_from_a_card_whose_answer_is_no_number(monkeypatch):
    monkeypatch.setattr(
        second_look, "check_numbers", lambda numbers, _: check_numbers(numbers, True)
    )
    made, predictor = look(two_cores())
    made.predictor = WithoutNumbers()
    made._on_processor = lambda: predictor
    window = made.window(Box((0, 0, 0), SHAPE))
    assert (window.shares.argmax(axis=1) == two_cores()).all()
    assert made.predictor is predictor


def test_boxes_and_points_go_between_the_scales():
    made, _ = look(np.zeros(SHAPE, np.uint8), working_shape=(64, 96, 128))
    assert made.to_working(Box((1, 2, 3), (5, 6, 7))) == Box((2, 4, 6), (10, 12, 14))
    assert made.to_scan((9.5, 0.5, 127.0)) == pytest.approx((4.5, 0.0, 63.0))
    shrunk, _ = look(np.zeros(SHAPE, np.uint8), working_shape=(16, 24, 32))
    box = shrunk.to_working(Box((1, 3, 5), (2, 4, 7)))
    assert box == Box((0, 1, 2), (1, 2, 4))
