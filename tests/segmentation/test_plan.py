"""The plan of a run: tiles that suit the network, and that no question of memory changes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from particleseg_app.memory_limit import SMALLEST_LIMIT_BYTES
from particleseg_app.models import find_model
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.plan import NetworkPlan, network_bytes, plan_network_run

CARD = find_model("default").card
NORMALISING = replace(CARD, longest_tile_edge=0)
lengths = st.integers(1, 1500)
shapes = st.tuples(lengths, lengths, lengths)


def planned(shape, preset="standard", card=CARD, limit=4 * 10**9) -> NetworkPlan:
    """A scan whose particles have just the size the network wants."""
    settings = RunSettings(10, 10 * card.target_diameter_voxels, preset=preset)
    return plan_network_run(shape, settings, card, memory_limit_bytes=limit)


def work(plan: NetworkPlan) -> int:
    return plan.tile_count * math.prod(plan.tile_shape) * (8 if plan.mirroring else 1)


@given(shapes, st.sampled_from(["fast", "standard", "best"]), st.sampled_from([CARD, NORMALISING]))
def test_memory_decides_on_chunks_only(shape, preset, card):
    little = planned(shape, preset, card, SMALLEST_LIMIT_BYTES)
    much = planned(shape, preset, card, 64 * 10**9)
    assert little.tile_shape == much.tile_shape
    tiles = [sorted(t for chunk in plan.chunks for t in chunk.tiles) for plan in (little, much)]
    assert tiles[0] == tiles[1]
    assert network_bytes(little) <= network_bytes(much)
    assert network_bytes(little) <= SMALLEST_LIMIT_BYTES


@given(shapes)
def test_a_quicker_preset_is_never_more_work(shape):
    fast, standard, best = (work(planned(shape, preset)) for preset in ("fast", "standard", "best"))
    assert fast <= standard <= best


def test_a_network_that_normalises_has_tiles_of_its_patch_that_overlap_by_half():
    plan = planned((300, 300, 50), card=NORMALISING)
    assert plan.tile_shape == (96, 96, 64)
    assert plan.overlap == (48, 48, 32)


@pytest.mark.parametrize(
    ("shape", "tile", "tiles"),
    [
        ((100, 128, 90), (112, 128, 96), 1),
        ((100, 128, 160), (112, 128, 96), 2),
        ((1000, 1256, 1256), (128, 128, 128), 11 * 13 * 13),
    ],
)
def test_other_networks_have_the_tiles_that_are_least_work(shape, tile, tiles):
    plan = planned(shape)
    assert plan.tile_shape == tile
    assert plan.tile_count == tiles


def test_in_a_large_scan_standard_takes_less_than_a_third_of_what_half_an_overlap_takes():
    shape = (1000, 1256, 1256)
    assert work(planned(shape)) < work(planned(shape, card=NORMALISING)) / 3
