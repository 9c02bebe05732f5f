"""Strongly reduced scans are read in parts that are as if read together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.models import GreyScaling
from particleseg_app.segmentation import working_scale as working_scale_module
from particleseg_app.segmentation.bounded_reading import read_bounded
from particleseg_app.segmentation.working_scale import read_at_working_scale, working_shape
from particleseg_app.units import Box
from tests.segmentation.volumes import ArrayVolume

SCALING = GreyScaling(0.0, 60_000.0, 30_000.0, 9000.0)
CPU = torch.device("cpu")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_parts_are_as_if_read_together(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 60)) for _ in range(3))
    scan = ArrayVolume(np.random.default_rng(1).integers(0, 60_000, shape).astype(np.uint16))
    working = working_shape(shape, data.draw(st.floats(0.05, 2.5)))  # type: ignore[arg-type]
    start = tuple(data.draw(st.integers(0, n - 1)) for n in working)
    # It may reach beyond the volume.
    stop = tuple(a + data.draw(st.integers(1, n + 4)) for a, n in zip(start, working, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    whole = read_at_working_scale(scan, working, box, SCALING, CPU)
    parts = read_bounded(scan, working, box, SCALING, CPU, data.draw(st.integers(1, 5000)))
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("most", [2000, 20_000])
def test_no_more_is_read_at_once_than_allowed(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_scale_module, "MAX_READ_VOXELS", most)
    scan = ArrayVolume(np.zeros((90, 100, 110), np.uint16))
    working = working_shape(scan.shape, 1 / 15)
    read_bounded(scan, working, Box.whole(working), SCALING, CPU, most)
    # The slices of the scan that one of the working slices is made of, of a few columns at least.
    assert scan.largest_read <= max(most, 31**3)
