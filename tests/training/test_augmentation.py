"""Augmentation: each change does what its name says, and the seed alone decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.training import augmentation as aug
from particleseg_app.training import grey_changes as changes
from particleseg_app.training.random_fields import coarse_noise, smooth_noise


def patch(seed: int = 0, edge: int = 20) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(0, 1, (edge,) * 3).astype(np.float32)
    return torch.from_numpy(values)


def blocks(edge: int = 20) -> torch.Tensor:
    """Background, core and border with a contact bit, as a target."""
    target = torch.zeros((edge,) * 3, dtype=torch.uint8)
    target[4:16, 4:16, 4:16] = 2
    target[7:13, 7:13, 7:13] = 1
    target[4:16, 4:16, 15] |= 4
    return target


@pytest.mark.parametrize("vary", [aug.vary_patches, aug.vary_patches_as_published])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_varied_patches_are_patches_and_repeatable(vary: aug.Augmentation, seed: int) -> None:
    grey = torch.stack([patch(0), patch(1)])[:, None].half()
    target = torch.stack([blocks(), blocks()])
    before = grey.clone(), target.clone()
    first = vary(aug.Randomness.of([seed], "cpu"), grey, target)
    again = vary(aug.Randomness.of([seed], "cpu"), grey, target)
    assert first[0].shape == grey.shape and first[1].shape == target.shape
    assert first[0].dtype == torch.float32
    assert first[1].dtype == torch.uint8
    assert first[0].isfinite().all()
    assert set(first[1].unique().tolist()) <= set(target.unique().tolist())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(grey, before[0]) and torch.equal(target, before[1])


def test_each_patch_of_a_batch_is_varied_by_itself() -> None:
    grey = torch.stack([patch()] * 6)[:, None]
    varied, _ = aug.vary_grey_values(aug.Randomness.of([1], "cpu"), grey, torch.zeros(6))
    assert len({round(float(one.sum()), 3) for one in varied}) == 6


@pytest.mark.parametrize(
    ("vary", "shares"),
    [
        (aug.random_grey_values,
         {"blur": 0.195, "lower_resolution": 0.1, "blur_one_axis": 0.1, "change_gamma": 0.25,
          "add_brightness_gradient": 0.15, "change_gamma_locally": 0.1, "vary_locally": 0.12,
          "counted_photons": 0.075, "scale_brightness": 1.0, "shift_brightness": 1.0}),
        (aug.published_grey_values,
         {"blur": 0.1, "lower_resolution": 0.125, "change_gamma": 0.2, "change_contrast": 0.1,
          "add_brightness_gradient": 0.15, "change_gamma_locally": 0.15,
          "scale_brightness": 0.15, "shift_brightness": 0.05}),
    ],
)  # fmt: skip
def test_every_change_is_made_with_its_chance_and_range(
    monkeypatch: pytest.MonkeyPatch,
    vary: Callable[[aug.Randomness, torch.Tensor], torch.Tensor],
    shares: dict[str, float],
) -> None:
    drawn: dict[str, list[float]] = {name: [] for name in shares}

    def watch(name: str) -> Callable[..., torch.Tensor]:
        def watched(volume: torch.Tensor, *arguments: object, **named: object) -> torch.Tensor:
            numbers = [a for a in (*arguments, *named.values()) if type(a) is float]
            drawn[name].append(numbers[0] if numbers else 0.0)
            return volume

        return watched

    for name in shares:
        monkeypatch.setattr(changes, name, watch(name))
    random, grey = aug.Randomness.of([0], "cpu"), patch(edge=8)
    count = 3000
    for _ in range(count):
        vary(random, grey)
    for name, share in shares.items():
        assert len(drawn[name]) / count == pytest.approx(share, abs=0.03), name
    published = vary is aug.published_grey_values
    ranges = {
        "blur": (0.5, 1.0) if published else (0.4, 1.1),
        "lower_resolution": (0.5, 1.0) if published else (0.5, 0.9),
        "change_gamma": (0.7, 1.5) if published else (0.6, 1.7),
        "change_gamma_locally": (0.01, 4.0) if published else (0.4, 2.5),
    }
    for name, (low, high) in ranges.items():
        assert low <= min(drawn[name]) < low + 0.2 * (high - low), name
        assert high - 0.2 * (high - low) < max(drawn[name]) <= high, name
    if not published:
        assert np.std(drawn["shift_brightness"]) == pytest.approx(0.25, rel=0.1)
        assert np.std(np.log(drawn["scale_brightness"])) == pytest.approx(0.28, rel=0.1)
        assert np.std(drawn["add_brightness_gradient"]) == pytest.approx(0.5, rel=0.15)


def test_noise_has_the_strength_that_was_drawn() -> None:
    flat = torch.zeros((16, 16, 16))
    spreads = [
        float(aug.published_grey_values(aug.Randomness.of([seed], "cpu"), flat).std())
        for seed in range(300)
    ]
    noisy = [spread for spread in spreads if 0 < spread <= 0.11]
    assert len(noisy) > 5 and max(noisy) > 0.07


def test_blurs_and_resolutions_are_those_of_scipy() -> None:
    grey = patch(2, 24)
    plain = grey.numpy()
    for sigma in (0.4, 1.1, 2.5):
        wanted = ndimage.gaussian_filter(plain, sigma, mode="nearest", truncate=3.0)
        assert np.allclose(changes.blur(grey, sigma, 3.0), wanted, atol=1e-5)
        for axis in range(3):
            wanted = ndimage.gaussian_filter1d(plain, sigma, axis, mode="nearest", truncate=3.0)
            assert np.allclose(changes.blur_one_axis(grey, axis, sigma), wanted, atol=1e-5)
    for zoom in (0.5, 0.77):
        coarse = ndimage.zoom(plain, round(24 * zoom) / 24, order=1, mode="nearest", grid_mode=True)
        wanted = ndimage.zoom(coarse, 24 / len(coarse), order=1, mode="nearest", grid_mode=True)
        assert np.allclose(changes.lower_resolution(grey, zoom), wanted, atol=1e-5)


def test_scaling_is_that_of_scipy() -> None:
    grey, target = patch(3, 24), blocks(24)
    moved = aug.turned_and_scaled(np.random.default_rng(17), grey, target)
    rng = np.random.default_rng(17)
    assert rng.random() > 0.2 and rng.random() < 0.2  # this seed scales only
    matrix = np.eye(3) / np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
    offset = 11.5 - matrix @ np.full(3, 11.5)
    for found, volume, order in ((moved[0], grey, 1), (moved[1], target, 0)):
        wanted = ndimage.affine_transform(
            volume.numpy(), matrix, offset, order=order, mode="reflect"
        )
        assert np.allclose(found, wanted, atol=1e-4)


def test_local_drift_is_the_field_of_the_simulated_scans() -> None:
    grey = patch(4, 24)
    field = smooth_noise(np.random.default_rng(1), grey.shape, 20.0)
    coarse = coarse_noise(np.random.default_rng(1), grey.shape, 20.0)
    assert coarse.size < field.size / 50
    brighter = changes.vary_locally(grey, coarse, contrast=False)
    assert np.allclose((brighter - grey).numpy(), 0.15 * field, atol=1e-5)
    steeper = changes.vary_locally(grey, coarse, contrast=True)
    assert np.allclose(steeper, grey.numpy() * (1 + 0.15 * field), atol=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_an_orientation_keeps_every_voxel_and_is_undone(seed: int) -> None:
    turn = aug.Orientation.random(np.random.default_rng(seed))
    cube = patch(edge=6)
    laid = turn.of(torch.stack([cube, 2 * cube]))
    assert torch.equal(laid[1], 2 * laid[0])
    assert torch.equal(laid.flatten(1).sort().values[0], cube.flatten().sort().values)
    assert np.array_equal(turn.undone(laid[0].numpy()), cube)


def test_all_48_orientations_are_drawn_for_grey_and_target_alike() -> None:
    rng, cube = np.random.default_rng(0), torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    seen = set()
    for _ in range(600):
        grey, target = aug.random_orientations(rng, cube, 3 * cube[0])
        assert torch.equal(3 * grey[0], target)
        seen.add(tuple(grey.flatten().tolist()))
    assert len(seen) == 48


def test_brightness_and_contrast() -> None:
    grey = patch()
    assert torch.allclose(changes.shift_brightness(grey, 0.5) - grey, torch.tensor(0.5), atol=1e-6)
    assert torch.allclose(changes.scale_brightness(grey, 1.2), 1.2 * grey)
    stretched = changes.change_contrast(grey, 2.0, keep_range=False)
    assert float(stretched.mean()) == pytest.approx(float(grey.mean()), abs=1e-4)
    assert float(stretched.std()) == pytest.approx(2 * float(grey.std()), rel=1e-3)
    kept = changes.change_contrast(grey, 2.0, keep_range=True)
    assert kept.min() == grey.min()
    assert kept.max() == grey.max()


@given(power=st.floats(0.3, 3), inverted=st.booleans(), keep=st.booleans())
@settings(max_examples=30, deadline=None)
def test_gamma_keeps_the_order_of_grey_values(power: float, inverted: bool, keep: bool) -> None:
    grey = patch()
    changed = changes.change_gamma(grey, power, inverted, keep)
    assert (changed.flatten()[grey.flatten().argsort()].diff() >= -1e-5).all()
    if keep:
        assert float(changed.mean()) == pytest.approx(float(grey.mean()), abs=1e-3)
        assert float(changed.std()) == pytest.approx(float(grey.std()), rel=1e-3)
    else:
        assert float(changed.min()) == pytest.approx(float(grey.min()), abs=1e-4)
        assert float(changed.max()) == pytest.approx(float(grey.max()), abs=1e-4)


def test_gamma_of_one_changes_nothing_and_of_two_darkens() -> None:
    grey = patch()
    assert torch.allclose(changes.change_gamma(grey, 1.0, False, False), grey, atol=1e-5)
    assert changes.change_gamma(grey, 2.0, False, False).mean() < grey.mean()
    assert changes.change_gamma(grey, 2.0, True, False).mean() > grey.mean()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_gradient_and_local_gamma_change_one_place_most(seed: int) -> None:
    grey = patch()
    bells = aug.random_bells(np.random.default_rng(seed), grey.shape)
    spot = changes.spot(grey, bells)
    assert float(spot.max()) == pytest.approx(1)
    assert (spot >= 0).all()
    brighter = changes.add_brightness_gradient(grey, bells, 3.0) - grey
    assert torch.allclose(brighter, 3 * spot, atol=1e-4)
    darker = changes.change_gamma_locally(grey, bells, 3.0)
    # A power above one only darkens, never beyond the extremes, and fully at the spot's middle.
    assert (darker <= grey + 1e-4).all()
    assert (darker >= grey.min() - 1e-4).all()
    whole = changes.change_gamma(grey, 3.0, False, False)
    middle = int(spot.argmax())
    assert float(darker.flatten()[middle]) == pytest.approx(
        float(whole.flatten()[middle]), abs=1e-3
    )


def test_turning_and_scaling_move_grey_and_target_together() -> None:
    target = blocks(24)
    grey = ((target & 3) > 0).float()
    moved = 0
    for seed in range(40):
        new_grey, new_target = aug.turned_and_scaled(np.random.default_rng(seed), grey, target)
        moved += not torch.equal(new_target, target)
        particle = (new_target & 3) > 0
        assert float(((new_grey > 0.5) == particle).float().mean()) > 0.97
        assert 0.3 < int(particle.sum()) / int(((target & 3) > 0).sum()) < 3
    assert 5 <= moved <= 30  # a chance of 0.36


def test_photon_noise_is_strongest_where_it_is_bright() -> None:
    ramp = torch.linspace(-1, 3, 20).expand(20, 20, 20)
    strength = changes.counted_photons(ramp)
    assert (strength.diff(dim=2) > 0).all()
    assert float(strength.mean()) == pytest.approx(1, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("vary", [aug.vary_patches, aug.vary_patches_as_published])
def test_a_graphics_card_draws_the_same_changes(
    monkeypatch: pytest.MonkeyPatch, vary: aug.Augmentation
) -> None:
    # Noise is drawn on the card, and is other noise there.
    monkeypatch.setattr(aug.Randomness, "noise", lambda self, like: 0 * like)
    monkeypatch.setattr(changes, "blur", lambda volume, *_, **__: volume)
    grey, target = torch.stack([patch()] * 8)[:, None], torch.stack([blocks()] * 8)
    for seed in range(10):
        here = vary(aug.Randomness.of([seed], "cpu"), grey, target)
        there = vary(aug.Randomness.of([seed], "cuda"), grey.cuda(), target.cuda())
        same = torch.isclose(here[0], there[0].cpu(), atol=1e-3) | here[0].isnan()
        assert float(same.float().mean()) > 0.999
        assert float((here[1] == there[1].cpu()).float().mean()) > 0.999
