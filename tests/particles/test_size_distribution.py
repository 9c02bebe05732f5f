"""Size distributions: what D50 and P80 mean, and that shares add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from particleseg_app.particles import size_distribution

DIAMETERS = st.lists(st.floats(0.5, 5000), min_size=1, max_size=60)


def table_of(diameters) -> pd.DataFrame:
    d = np.asarray(diameters, dtype=float)
    return pd.DataFrame({"volume_um3": np.pi / 6 * d**3})


def test_values_of_a_known_sample():
    # 100 particles of 10 µm hold as much volume as 12.5 of 20 µm.
    table = table_of([10.0] * 100 + [20.0] * 25)
    by_volume = size_distribution(table)
    assert list(by_volume.diameters_um) == pytest.approx([10, 20])
    assert list(by_volume.cumulative) == pytest.approx([1 / 3, 1])
    assert by_volume.d10 == pytest.approx(10)
    assert by_volume.d50 == pytest.approx(12.5)
    assert by_volume.p80 == pytest.approx(17)
    assert by_volume.d90 == pytest.approx(18.5)
    by_number = size_distribution(table, "number")
    assert by_number.d50 == pytest.approx(10)
    assert by_number.d90 == pytest.approx(15)


def test_many_particles_approach_the_true_quantiles():
    d = np.exp(np.random.default_rng(0).normal(np.log(50), 0.4, 20000))
    by_number = size_distribution(table_of(d), "number")
    assert by_number.d50 == pytest.approx(50, rel=0.02)
    # The volume-weighted median of a lognormal is larger by exp(3 σ²).
    assert size_distribution(table_of(d)).d50 == pytest.approx(50 * np.exp(3 * 0.16), rel=0.03)


@given(diameters=DIAMETERS, weighting=st.sampled_from(["volume", "number"]))
@example(diameters=[0.5, 0.5000000000000001], weighting="volume")  # two volumes, one diameter
def test_shares_add_up_and_order_holds(diameters, weighting):
    result = size_distribution(table_of(diameters), weighting)
    assert result.cumulative[-1] == 1.0
    assert (np.diff(result.cumulative) > 0).all()
    assert (np.diff(result.diameters_um) > 0).all()
    low, high = min(diameters) * (1 - 1e-9), max(diameters) * (1 + 1e-9)
    assert low <= result.d10 <= result.d50 <= result.p80 <= result.d90 <= high
    assert result.bin_shares.sum() == pytest.approx(1)
    assert result.bin_edges_um.size == result.bin_shares.size + 1
    assert result.bin_edges_um[0] <= result.diameters_um[0]
    assert result.diameters_um[-1] < result.bin_edges_um[-1]
    assert result.bin_shares[0] > 0 and result.bin_shares[-1] > 0
    ratio = result.bin_edges_um[1:] / result.bin_edges_um[:-1]
    assert np.allclose(ratio, ratio[0])
    assert result.diameters_um[-1] == pytest.approx(max(diameters))


@given(diameters=DIAMETERS, factor=st.sampled_from([0.1, 10.0, 1000.0]))
def test_another_unit_scales_every_size(diameters, factor):
    here = size_distribution(table_of(diameters))
    there = size_distribution(table_of(np.array(diameters) * factor))
    assert [there.d10, there.d50, there.p80, there.d90] == pytest.approx(
        [factor * d for d in (here.d10, here.d50, here.p80, here.d90)], rel=1e-3
    )


def test_number_of_bins_grows_with_the_particles_but_stays_readable():
    rng = np.random.default_rng(1)
    sizes = [
        size_distribution(table_of(np.exp(rng.normal(4, 0.5, n)))).bin_shares.size
        for n in (10, 1000, 100000)
    ]
    assert sizes[0] < sizes[1] <= sizes[2] <= 60


def test_one_particle_and_none():
    one = size_distribution(table_of([40.0]))
    assert one.d10 == one.d90 == pytest.approx(40)
    assert one.bin_shares.tolist() == [1.0]
    assert size_distribution(table_of([])) is None
    with pytest.raises(ValueError):
        size_distribution(table_of([1.0]), "mass")
