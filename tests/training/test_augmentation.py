"""Augmentation: each change does what its name says, and the generator alone decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.training import augmentation as aug


def patch(seed: int = 0, edge: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (edge,) * 3).astype(np.float32)


def blocks(edge: int = 20) -> np.ndarray:
    """Background, core and border with a contact bit, as a target."""
    target = np.zeros((edge,) * 3, np.uint8)
    target[4:16, 4:16, 4:16] = 2
    target[7:13, 7:13, 7:13] = 1
    target[4:16, 4:16, 15] |= 4
    return target


@pytest.mark.parametrize("vary", [aug.vary_patch, aug.vary_patch_as_published])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_varied_patch_is_a_patch_and_repeatable(vary: aug.Augmentation, seed: int) -> None:
    grey, target = patch(), blocks()
    first = vary(np.random.default_rng(seed), grey.copy(), target.copy())
    again = vary(np.random.default_rng(seed), grey.copy(), target.copy())
    assert first[0].shape == first[1].shape == grey.shape
    assert first[0].dtype == np.float32
    assert first[1].dtype == np.uint8
    assert np.isfinite(first[0]).all()
    assert set(np.unique(first[1])) <= set(np.unique(target))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_published_training_uses_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()

    def watch(name: str) -> Callable[..., np.ndarray]:
        original = getattr(aug, name)

        def watched(*args: object, **named: object) -> np.ndarray:
            used.add(name)
            return original(*args, **named)

        return watched

    names = {
        "scale_brightness", "shift_brightness", "change_contrast", "change_gamma",
        "add_brightness_gradient", "change_gamma_locally", "lower_resolution",
    }  # fmt: skip
    for name in names:
        monkeypatch.setattr(aug, name, watch(name))
    rng = np.random.default_rng(0)
    for _ in range(120):
        aug.published_grey_values(rng, patch(edge=12))
    assert used == names


def test_brightness_and_contrast() -> None:
    grey = patch()
    assert np.allclose(aug.shift_brightness(grey, 0.5) - grey, 0.5, atol=1e-6)
    assert np.allclose(aug.scale_brightness(grey, 1.2), 1.2 * grey)
    stretched = aug.change_contrast(grey, 2.0, keep_range=False)
    assert stretched.mean() == pytest.approx(grey.mean(), abs=1e-4)
    assert stretched.std() == pytest.approx(2 * grey.std(), rel=1e-3)
    kept = aug.change_contrast(grey, 2.0, keep_range=True)
    assert kept.min() == grey.min()
    assert kept.max() == grey.max()


@given(power=st.floats(0.3, 3), inverted=st.booleans(), keep=st.booleans())
@settings(max_examples=30, deadline=None)
def test_gamma_keeps_the_order_of_grey_values(power: float, inverted: bool, keep: bool) -> None:
    grey = patch()
    changed = aug.change_gamma(grey, power, inverted, keep)
    order = np.argsort(grey.ravel())
    assert (np.diff(changed.ravel()[order]) >= -1e-5).all()
    if keep:
        assert changed.mean() == pytest.approx(grey.mean(), abs=1e-3)
        assert changed.std() == pytest.approx(grey.std(), rel=1e-3)
    else:
        assert changed.min() == pytest.approx(grey.min(), abs=1e-4)
        assert changed.max() == pytest.approx(grey.max(), abs=1e-4)


def test_gamma_of_one_changes_nothing_and_of_two_darkens() -> None:
    grey = patch()
    assert np.allclose(aug.change_gamma(grey, 1.0, False, False), grey, atol=1e-5)
    assert aug.change_gamma(grey, 2.0, False, False).mean() < grey.mean()
    assert aug.change_gamma(grey, 2.0, True, False).mean() > grey.mean()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_gradient_and_local_gamma_change_one_place_most(seed: int) -> None:
    grey = patch()
    spot = aug.random_spot(np.random.default_rng(seed), grey.shape)
    assert spot.max() == pytest.approx(1)
    assert (spot >= 0).all()
    brighter = aug.add_brightness_gradient(np.random.default_rng(seed), grey, 3.0) - grey
    assert np.allclose(brighter, 3 * spot, atol=1e-4)
    darker = aug.change_gamma_locally(np.random.default_rng(seed), grey, 3.0)
    # A power above one only darkens, never beyond the extremes, and fully at the spot's middle.
    assert (darker <= grey + 1e-4).all()
    assert (darker >= grey.min() - 1e-4).all()
    middle = np.unravel_index(spot.argmax(), spot.shape)
    whole = aug.change_gamma(grey, 3.0, False, False)
    assert darker[middle] == pytest.approx(whole[middle], abs=1e-3)


def test_turning_and_scaling_move_grey_and_target_together() -> None:
    target = blocks(24)
    grey = ((target & 3) > 0).astype(np.float32)
    moved = 0
    for seed in range(40):
        new_grey, new_target = aug.turned_and_scaled(np.random.default_rng(seed), grey, target)
        moved += not np.array_equal(new_target, target)
        particle = (new_target & 3) > 0
        assert ((new_grey > 0.5) == particle).mean() > 0.97
        assert 0.3 < particle.sum() / ((target & 3) > 0).sum() < 3
    assert 5 <= moved <= 30  # a chance of 0.36


def test_lower_resolution_keeps_shape_and_loses_detail() -> None:
    grey = patch()
    coarse = aug.lower_resolution(grey, 0.5)
    assert coarse.shape == grey.shape
    assert coarse.std() < 0.7 * grey.std()


def test_blur_along_one_axis_spares_the_others() -> None:
    noise = patch(3)
    blurred = aug.blur_one_axis(noise, 1, 2.0)
    change = [
        np.diff(blurred, axis=axis).std() / np.diff(noise, axis=axis).std() for axis in range(3)
    ]
    assert blurred.shape == noise.shape
    # Averaging makes all of it weaker; only along the axis do neighbours become alike.
    assert change[1] < 0.4 * min(change[0], change[2])


def test_photon_noise_is_strongest_where_it_is_bright() -> None:
    ramp = np.broadcast_to(np.linspace(-1, 3, 20, dtype=np.float32), (20, 20, 20))
    strength = aug.counted_photons(ramp)
    assert (np.diff(strength, axis=2) > 0).all()
    assert strength.mean() == pytest.approx(1, abs=1e-4)
