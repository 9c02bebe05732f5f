"""The sample scan that comes with the program, and simulated scans written as TIFF slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from particleseg_app.durable_files import part_file, part_folder
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.beam_hardening import BeamHardeningSettings
from particleseg_app.training.imaging import ImagingSettings
from particleseg_app.training.inside import InsideSettings
from particleseg_app.training.packing import PackingSettings
from particleseg_app.training.scenes import SceneSettings, SimulatedScan, simulate_scene
from particleseg_app.training.surroundings import SurroundingsSettings
from particleseg_app.units import Shape

SAMPLE_SEED = 77_000_017  # far from every seed that trained the default model
SAMPLE_SHAPE: Shape = (96, 160, 160)
SAMPLE_DIAMETER = 18.0
SAMPLE_VOXEL_SIZE_UM = 10.0

SAMPLE_SCENE = SceneSettings(
    packing=PackingSettings(
        diameter=19.5, spread=0.25, family="ore", fill=0.21, clearance=1.3,
        pushed_together=0.14,
    ),
    inside=InsideSettings(
        levels=(1.0, 0.75, 1.7), level_jitter=0.05, mixed=0.25, texture=0.04, coated=0.0,
        cracked=0.05, porous=0.05,
    ),
    surroundings=SurroundingsSettings(
        air_level=-0.7, bubbles=0.01, matrix_texture=0.02,
    ),
    imaging=ImagingSettings(
        blur=0.75, coarseness=1.0, noise=0.13, reconstruction_noise=0.6, axial_noise=0.4,
        edge_enhancement=0.0, hardening=BeamHardeningSettings(80, 1.0, 1.5, 1.0), cupping=0.0,
        rings=0.06, stripes=0.0, drift=0.03, slice_steps=0.0, bits=16, grey_levels=0,
        clipped=(0.0, 0.02),
    ),
)  # fmt: skip


def sample_scan() -> SimulatedScan:
    """The bundled sample: an ore powder in epoxy, always the same voxels."""
    rng = np.random.default_rng(SAMPLE_SEED)
    grey, labels = simulate_scene(rng, SAMPLE_SCENE, SAMPLE_SHAPE)
    return SimulatedScan(grey, labels, "ore_sample", SAMPLE_SEED, SAMPLE_DIAMETER, {})


def write_scan(
    scan: SimulatedScan,
    slices: Path,
    labels: Path,
    voxel_size_um: float,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> None:
    """Write the grey values as numbered TIFF files in `slices` and the labels as one TIFF.

    The voxel size is in the resolution tags. Both are deflate-compressed. The folder `slices` must
    not be there; it gets its name last, so that where it is there, all of the scan is.
    """
    import tifffile

    per_centimetre = 1e4 / voxel_size_um
    if progress is not None:
        progress.start("Writing slices", len(scan.grey), "slices")
    with part_folder(slices) as folder:
        for index, plane in enumerate(scan.grey):
            if cancel is not None:
                cancel.check()
            with part_file(folder / f"{slices.name}_{index:04d}.tif") as part:
                tifffile.imwrite(
                    part, plane, compression="zlib", predictor=True, metadata=None,
                    resolution=(per_centimetre, per_centimetre), resolutionunit="CENTIMETER",
                )  # fmt: skip
            if progress is not None:
                progress.advance()
        # Sixteen bits are enough for most scans and half the size in programs that load them whole.
        narrow = scan.labels.astype(np.uint16) if scan.labels.max() < 65536 else scan.labels
        with part_file(labels) as part:
            tifffile.imwrite(
                part, narrow, compression="zlib", photometric="minisblack",
                metadata={"axes": "ZYX"}, resolution=(per_centimetre, per_centimetre),
                resolutionunit="CENTIMETER",
            )  # fmt: skip


def write_sample(folder: Path) -> None:
    """Write the bundled sample scan and its reference labels into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_scan(
        sample_scan(),
        folder / "ore_sample",
        folder / "ore_sample_labels.tif",
        SAMPLE_VOXEL_SIZE_UM,
    )
