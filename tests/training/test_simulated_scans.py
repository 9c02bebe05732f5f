"""Simulated scans: the same for the same seed, labels in order, packed as the preset says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cc3d
import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from particleseg_app.errors import InvalidValueError
from particleseg_app.training import PRESETS, default_model, sample_scan, simulate_scan, write_scan
from particleseg_app.training.compounds import COMPOUNDS
from particleseg_app.training.contacts import contact_voxels
from particleseg_app.training.container import WallSettings, distance_from_axis, paint_walls
from particleseg_app.training.harder_scans import FEW_VOXELS, HARDER, WIDE_BLUR
from particleseg_app.training.imaging import random_imaging, take_scan
from particleseg_app.training.inside import (
    BRIGHTEST_ZONE,
    FAINTEST_ZONE,
    InsideSettings,
    _lamellae,
    attenuation_inside,
    halves,
)
from particleseg_app.training.packing import (
    Container,
    PackingSettings,
    paint_particles,
    place_particles,
    tidy_labels,
)
from particleseg_app.training.random_fields import enlarged, smooth_noise
from particleseg_app.training.scenes import random_scene, simulate_scene
from particleseg_app.training.shapes import Particles

SMALL = (48, 48, 48)
SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


def touching_share(labels: np.ndarray) -> float:
    pairs = cc3d.contacts(labels, connectivity=26)
    return len({label for pair in pairs for label in pair}) / max(1, int(labels.max()))


def test_same_seed_gives_same_voxels_and_another_seed_does_not() -> None:
    first = simulate_scan("varied", 5, SMALL)
    again = simulate_scan("varied", 5, SMALL)
    other = simulate_scan("varied", 6, SMALL)
    assert np.array_equal(first.grey, again.grey)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.grey, other.grey)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_gives_usable_labels(preset: str) -> None:
    scan = simulate_scan(preset, 11, SMALL, diameter=14)
    assert scan.grey.shape == scan.labels.shape == SMALL
    assert scan.grey.dtype == np.uint16
    assert scan.labels.dtype == np.uint32
    assert np.array_equal(np.unique(scan.labels), np.arange(scan.labels.max() + 1))
    # Each particle is one piece.
    pieces = cc3d.connected_components(scan.labels, connectivity=6)
    assert pieces.max() == scan.labels.max()
    assert scan.grey.std() > 0


@given(
    preset=st.sampled_from(PRESETS), seed=st.integers(0, 10**6), diameter=st.floats(5, 30),
    shape=st.tuples(st.integers(16, 34), st.integers(16, 34), st.integers(16, 34)),
)  # fmt: skip
@example("branched", 0, 18.0, (16, 16, 16))  # nothing in the middle, a polychromatic beam
@settings(max_examples=12, deadline=None)
def test_any_shape_and_size_gives_a_scan(
    preset: str, seed: int, diameter: float, shape: tuple[int, int, int]
) -> None:
    scan = simulate_scan(preset, seed, shape, diameter)
    assert scan.grey.shape == scan.labels.shape == shape
    # A scan this small may lie outside the round field of view altogether.
    assert scan.grey.std() > 0 or not scan.labels.any()


def test_presets_differ_in_how_much_touches() -> None:
    def mean_share(preset: str) -> float:
        scans = [simulate_scan(preset, seed, (64, 64, 64), diameter=12) for seed in range(4)]
        return float(np.mean([touching_share(scan.labels) for scan in scans]))

    assert mean_share("spaced") < 0.3
    assert mean_share("settled") > 0.8
    assert mean_share("spaced") < mean_share("touching") < mean_share("settled_angular")


def test_settled_scenes_are_dense_and_wide_ones_are_wide() -> None:
    dense = [simulate_scan("settled_angular", seed, (64, 64, 64), 12) for seed in range(5)]
    assert max((scan.labels > 0).mean() for scan in dense) > 0.5
    wide = simulate_scan("wide", 3, (96, 96, 96), 12)
    volumes = np.bincount(wide.labels.ravel())[1:]
    assert (volumes.max() / volumes.min()) ** (1 / 3) > 4


def test_thick_walls_are_not_labelled_and_grains_touch_them() -> None:
    touching = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng, "sand_tube", (64, 64, 64), 12)
        around = replace(scene.surroundings, view_radius=0.0, surface=-1.0, floor=-1.0)
        scene = replace(scene, surroundings=around, packing=replace(scene.packing, against_wall=1))
        assert 10 <= scene.surroundings.walls.layers[0][0] <= 120
        _, labels = simulate_scene(rng, scene, (64, 64, 64))
        distance = np.broadcast_to(
            distance_from_axis(labels.shape, around.container, around.walls), labels.shape
        )
        assert not labels[distance > around.container.radius].any()
        near = labels[(distance > around.container.radius - 1.5) & (labels > 0)]
        touching += len(np.unique(near))
    assert touching >= 12


def test_walls_have_the_thickness_and_the_levels_asked_for() -> None:
    container = Container(32.0, 32.0, 14.0)
    walls = WallSettings(layers=((5.0, 2.0), (3.0, -0.5), (4.0, 1.0)))
    volume = np.zeros((4, 64, 64), np.float32)
    paint_walls(np.random.default_rng(0), volume, container, walls, -0.7)
    profile = volume[2, 32, 32:]
    assert (profile[:15] == 0).all()
    assert (profile[15:20] == 2).all()
    assert (profile[20:23] == -0.5).all()
    assert (profile[23:27] == 1).all()
    assert (profile[27:] == np.float32(-0.7)).all()


@given(
    ovality=st.floats(0, 0.04), angle=st.floats(0, 3.2), tilt=st.floats(-0.05, 0.05),
    shift=st.floats(-3, 3),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_imperfect_walls_enclose_the_contents_all_around(
    ovality: float, angle: float, tilt: float, shift: float
) -> None:
    walls = WallSettings(((8.0, 2.0),), ovality, angle, (shift, -shift / 2), (tilt, 0.0))
    volume = np.zeros((6, 72, 72), np.float32)
    paint_walls(np.random.default_rng(0), volume, Container(36, 36, 20), walls, -0.7)
    for plane in volume:
        # Nothing but wall lies between what is inside and the air.
        pieces = cc3d.connected_components((plane < 1.5).astype(np.uint8), connectivity=8)
        assert pieces.max() == 2
        assert pieces[0, 0] != pieces[36, 36]


def test_giants_and_clumps_are_made() -> None:
    plain = PackingSettings(8.0, 0.2, "rounded", 0.15, 1.1, 0.0)
    shape, box = (64, 64, 64), Container()

    def place(**changes: float | str) -> Particles:
        settings = replace(plain, **changes)  # type: ignore[arg-type]
        return place_particles(np.random.default_rng(4), shape, settings, box)

    usual, giants = place(), place(giants=2, fill=0.4)
    assert usual.radius.max() < 2 * usual.radius.mean()
    assert giants.radius.max() > 2.5 * giants.radius.mean()

    def nearest(particles: Particles) -> float:
        distances = cKDTree(particles.centre).query(particles.centre, k=2)[0]
        return float(distances[:, 1].mean())

    assert nearest(place(clumped=0.6)) < 0.95 * nearest(usual)


@pytest.mark.parametrize("kind", list(COMPOUNDS))
def test_a_compound_is_one_piece_of_the_volume_of_the_particle_it_replaces(kind: str) -> None:
    box, shape = Container(), (72, 72, 72)
    settings = PackingSettings(12.0, 0.2, "spheres", 0.05, 1.8, 0.0)
    whole = place_particles(np.random.default_rng(4), shape, settings, box)
    wanted = replace(settings, compounds=1.0, compound=kind)
    compounds = place_particles(np.random.default_rng(4), shape, wanted, box)
    assert len(np.unique(compounds.owner)) < len(compounds)
    balls, _ = paint_particles(np.random.default_rng(1), shape, whole, settings)
    labels, _ = paint_particles(np.random.default_rng(1), shape, compounds, wanted)
    assert set(np.unique(labels)) - {0} <= set(compounds.owner + 1)
    # Hardly a voxel is lost when each keeps only its largest piece.
    assert (tidy_labels(labels) > 0).sum() > 0.97 * (labels > 0).sum()
    sizes, replaced = np.bincount(labels.ravel())[1:], np.bincount(balls.ravel())[1:]
    inner = ((whole.centre > 15) & (whole.centre < 57)).all(1)[: min(len(sizes), len(replaced))]
    inner = np.flatnonzero(inner)
    assert abs(np.median(sizes[inner] / replaced[inner]) - 1) < 0.2


def test_grains_of_a_sintered_particle_have_wide_necks() -> None:
    for seed in range(20):
        centres, radii = COMPOUNDS["sintered"](np.random.default_rng(seed))
        distances = cdist(centres, centres) + 9 * np.eye(len(radii))
        for index in range(1, len(radii)):
            reach = distances[index] - radii - radii[index]
            assert reach.min() < 0, "every grain is fused to another"
            other = int(reach.argmin())
            d, r, s = distances[index, other], radii[index], radii[other]
            along = (d**2 + r**2 - s**2) / (2 * d)
            neck = np.sqrt(max(0.0, r**2 - along**2))
            assert neck > 0.65 * min(r, s) or d < max(r, s)


def test_stacked_plates_lie_face_on_face() -> None:
    settings = PackingSettings(16.0, 0.1, "plates", 0.1, 1.1, 0.0, stacked=1.0)
    plates = place_particles(np.random.default_rng(2), (96, 96, 96), settings, Container())
    distance, nearest = (a[:, 1] for a in cKDTree(plates.centre).query(plates.centre, k=2))
    parallel = np.abs((plates.rotation[:, 0] * plates.rotation[nearest, 0]).sum(1)) > 0.95
    close = distance < 1.3 * plates.radius
    flat = plates.semi_axes[:, 0] < 0.7 * plates.semi_axes[:, 1:].min(1)
    assert (parallel & close & flat).mean() > 0.25
    assert np.allclose(plates.rotation @ plates.rotation.transpose(0, 2, 1), np.eye(3), atol=1e-4)


def test_few_grey_levels_and_stripes_are_drawn_as_asked() -> None:
    rng = np.random.default_rng(3)
    imaging = replace(random_imaging(rng, 0.0), bits=8, grey_levels=24, clipped=(0.0, 0.0),
                      noise=0.05, stripes=0.0)  # fmt: skip
    blank = np.zeros(SMALL, np.float32)
    blank[:, 20:30, 20:30] = 1
    assert len(np.unique(take_scan(rng, blank, (24, 24), imaging))) <= 24
    calm = replace(imaging, grey_levels=0, noise=1e-4, bits=16, rings=0.0, drift=0.0,
                   slice_steps=0.0, cupping=0.0)  # fmt: skip
    striped = take_scan(rng, 0 * blank, (24, 24), replace(calm, stripes=0.3))
    # A line across a slice: within it far brighter or darker than most of the slice.
    plane = striped[np.argmax([float(np.ptp(p)) for p in striped])].astype(float)
    outliers = np.abs(plane - np.median(plane)) > 0.4 * np.abs(plane - np.median(plane)).max()
    assert 10 < outliers.sum() < 0.4 * plane.size


def test_lamellae_lie_in_another_direction_in_each_particle() -> None:
    labels = np.ones((40, 40, 40), np.uint32)
    labels[:, :, 20:] = 2
    layers = _lamellae(np.random.default_rng(2), labels, 200.0)

    def direction(part: np.ndarray) -> np.ndarray:
        steps = [float(np.abs(np.diff(part.astype(float), axis=axis)).mean()) for axis in range(3)]
        return np.array(steps) / np.linalg.norm(steps)

    assert 0.2 < layers.mean() < 0.8
    first, second = direction(layers[..., :20]), direction(layers[..., 20:])
    assert float(first @ second) < 0.97


@pytest.mark.parametrize("shape", [(20, 9), (7, 30, 12), (40,)])
def test_enlarging_is_linear_interpolation_like_scipys(shape: tuple[int, ...]) -> None:
    small = tuple(max(2, size // 3) for size in shape)
    field = np.random.default_rng(0).random(small).astype(np.float32)
    zoom = [full / part for full, part in zip(shape, small, strict=True)]
    wanted = ndimage.zoom(field, zoom, order=1, mode="nearest", grid_mode=True)
    assert np.allclose(enlarged(field, shape), wanted, atol=1e-6)


def test_particles_can_be_told_from_what_is_around_them() -> None:
    scan = simulate_scan("settled", 2, (64, 64, 64), 16)
    inside, outside = scan.grey[scan.labels > 0], scan.grey[scan.labels == 0]
    assert abs(float(np.median(inside)) - float(np.median(outside))) > 0.3 * float(outside.std())


@pytest.mark.parametrize(
    ("preset", "shape", "diameter"),
    [("unheard of", SMALL, None), ("spaced", (8, 48, 48), None), ("spaced", SMALL, 1000.0)],
)
def test_impossible_requests_are_explained(
    preset: str, shape: tuple[int, int, int], diameter: float | None
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        simulate_scan(preset, 0, shape, diameter)
    assert caught.value.remedy


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_tidy_labels_keeps_one_piece_of_each_and_numbers_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 4, (6, 6, 6)) * (rng.random((6, 6, 6)) < 0.8)).astype(np.uint32)
    tidy = tidy_labels(labels.repeat(2, 0), smallest=5)
    assert np.array_equal(np.unique(tidy), np.arange(tidy.max() + 1))
    assert cc3d.connected_components(tidy, connectivity=6).max() == tidy.max()
    # Nothing is invented: every kept particle lies within one of the given ones.
    for label in range(1, int(tidy.max()) + 1):
        assert len(np.unique(labels.repeat(2, 0)[tidy == label])) == 1


def test_contacts_are_between_two_particles_only() -> None:
    labels = np.zeros((9, 9, 20), np.uint32)
    labels[2:7, 2:7, 1:7] = 1
    labels[2:7, 2:7, 8:13] = 2
    near = contact_voxels(labels)
    assert near[4, 4, 7]
    assert near[4, 4, 6]
    assert not near[4, 4, 2]
    assert not near[4, 4, 12]  # next to background only
    assert not contact_voxels((labels == 1).astype(np.uint32)).any()


@pytest.mark.parametrize("length", [0.5, 3.0, 40.0])
def test_smooth_noise_has_unit_deviation_and_its_shape(length: float) -> None:
    field = smooth_noise(np.random.default_rng(0), (20, 30, 25), length)
    assert field.shape == (20, 30, 25)
    assert abs(float(field.std()) - 1) < 0.01


def test_bundled_sample_is_what_the_simulator_makes(tmp_path: Path) -> None:
    scan = sample_scan()
    files = sorted((SAMPLE / "ore_sample").glob("*.tif"))
    grey = np.stack([tifffile.imread(path) for path in files])
    labels = tifffile.imread(SAMPLE / "ore_sample_labels.tif")
    # Another processor may round a voxel at a surface differently.
    assert (labels == scan.labels).mean() > 0.999
    assert np.corrcoef(grey.ravel(), scan.grey.ravel())[0, 1] > 0.99
    assert sum(path.stat().st_size for path in [*files, SAMPLE / "ore_sample_labels.tif"]) < 6e6
    write_scan(scan, tmp_path / "again", tmp_path / "labels.tif", 10.0)
    with tifffile.TiffFile(tmp_path / "again" / "again_0003.tif") as file:
        page = file.pages[0]
        assert page.tags["XResolution"].value == (1000, 1)
        assert page.tags["ResolutionUnit"].value == 3
        assert np.array_equal(page.asarray(), scan.grey[3])
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), scan.labels)


def four_balls() -> np.ndarray:
    labels = np.zeros((64, 64, 64), np.uint32)
    z, y, x = np.indices(labels.shape)
    for number, centre in enumerate([(16, 16), (16, 48), (48, 16), (48, 48)], 1):
        distance = np.sqrt((z - 32) ** 2 + (y - centre[0]) ** 2 + (x - centre[1]) ** 2)
        labels[distance < 13] = number
    return labels


def test_zones_change_particles_from_within_and_keep_them_visible() -> None:
    labels = four_balls()
    depth = ndimage.distance_transform_edt(labels > 0).astype(np.float32)
    plain = InsideSettings((1.0,), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    lowest, highest, rims = [], [], []
    for seed in range(30):
        inside = attenuation_inside(
            np.random.default_rng(seed), labels, depth, replace(plain, zoned=1.0), 26.0
        )
        assert not inside[labels == 0].any()
        levels = [inside[labels == number] for number in range(1, 5)]
        assert all(np.ptp(level) > 0.15 for level in levels)
        lowest.append(min(level.min() for level in levels))
        highest.append(max(level.max() for level in levels))
        rims.append(inside[(labels > 0) & (depth < 1.2)].mean())
    assert min(lowest) >= FAINTEST_ZONE - 1e-6 and min(lowest) < 0.4
    assert 5 < max(highest) <= BRIGHTEST_ZONE
    assert min(rims) < 0.6 and max(rims) > 1.6
    whole = attenuation_inside(np.random.default_rng(0), labels, depth, plain, 26.0)
    assert np.array_equal(whole, (labels > 0).astype(np.float32))


@pytest.mark.parametrize("seed", range(6))
def test_halves_cut_every_particle_in_two(seed: int) -> None:
    labels = four_balls()
    sides = halves(np.random.default_rng(seed), labels, 26.0)
    for number in range(1, 5):
        own = labels == number
        assert 0.08 < sides[own].mean() < 0.92
        for side in (own & sides, own & ~sides):
            pieces, _ = ndimage.label(side)
            assert np.bincount(pieces[side]).max() > 0.98 * side.sum()


def test_halves_are_of_two_of_the_scenes_phases() -> None:
    labels = four_balls()
    depth = ndimage.distance_transform_edt(labels > 0).astype(np.float32)
    two_phases = InsideSettings((1.0, 3.0), 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, halved=True)
    parted = 0
    for seed in range(8):
        inside = attenuation_inside(np.random.default_rng(seed), labels, depth, two_phases, 26.0)
        assert set(np.unique(inside[labels > 0])) <= {1.0, 3.0}
        for number in range(1, 5):
            bright = inside[labels == number] == 3.0
            parted += bool(0.08 < bright.mean() < 0.92)
    assert parted > 8  # each particle's second phase may be the same as its first


def test_spongy_particles_have_more_pores_and_up_to_their_surface() -> None:
    labels = four_balls()
    depth = ndimage.distance_transform_edt(labels > 0).astype(np.float32)
    usual = InsideSettings((1.0,), 0.0, 0.0, 0.0, 0.0, 0.0, porous=1.0)
    shares, shallowest = [], []
    for settings_ in (usual, replace(usual, spongy=True)):
        drawn = [
            attenuation_inside(np.random.default_rng(seed), labels, depth, settings_, 26.0)
            for seed in range(20)
        ]
        pores = [(labels > 0) & (inside < 1) for inside in drawn]
        shares.append(sum(int(pore.sum()) for pore in pores) / (20 * (labels > 0).sum()))
        shallowest.append(min(float(depth[pore].min()) for pore in pores if pore.any()))
    assert 1.3 * shares[0] < shares[1] < 0.2
    assert shallowest[1] == 1 < shallowest[0]


@pytest.mark.parametrize("kind", HARDER)
def test_harder_scans_are_harder_and_their_particles_can_be_seen(kind: str) -> None:
    drawn = [
        random_scene(np.random.default_rng(seed), kind, SMALL, 24.0).imaging for seed in range(40)
    ]
    usual = [random_imaging(np.random.default_rng(seed)) for seed in range(200)]
    if kind == "noisy":
        assert np.median([one.noise for one in drawn]) > max(one.noise for one in usual)
    elif kind == "flawed":
        for name in ("slice_steps", "edge_enhancement", "rings", "stripes"):
            most = max(getattr(one, name) for one in usual)
            assert any(getattr(one, name) > most for one in drawn), name
        assert max(one.slice_steps for one in drawn) <= 0.5
        assert max(one.noise for one in drawn) <= 0.15
    elif kind == "unsharp":
        widths = [24 / one.coarseness for one in drawn]
        assert min(widths) < 8 and max(widths) <= FEW_VOXELS[1] + 1e-6
        shares = [one.blur / width for one, width in zip(drawn, widths, strict=True)]
        assert WIDE_BLUR[0] <= min(shares) and 0.11 < max(shares) <= WIDE_BLUR[1]
    else:
        assert max(one.noise for one in drawn) <= 0.3 * FAINTEST_ZONE
    scans = [simulate_scan(kind, seed, SMALL, 16.0) for seed in range(4)]
    assert np.array_equal(simulate_scan(kind, 3, SMALL, 16.0).grey, scans[3].grey)
    upright = [scan for scan in scans if not scan.settings["inverted"] and scan.labels.any()]
    assert upright
    for scan in upright:
        beside = ndimage.binary_dilation(scan.labels > 0, iterations=4) & (scan.labels == 0)
        brighter = scan.grey[scan.labels > 0] > np.median(scan.grey[beside])
        assert brighter.mean() > 0.75


def test_the_default_models_scenes_are_all_of_a_hundred() -> None:
    assert set(default_model.PRESETS) <= set(PRESETS)
    assert set(HARDER) <= set(default_model.PRESETS)
    assert sum(default_model.PRESETS.values()) == pytest.approx(1)
