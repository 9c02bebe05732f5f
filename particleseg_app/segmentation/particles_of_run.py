"""The last stage of a run: from classes to labels, without what is part of the container.

What the stage finds out on its way is kept beside the pieces: the tube in the scan, so that a run
that goes on uses the same one, and how much was left out and what the contacts of the scan are
like, in case the run is killed before its summary.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from particleseg_app.durable_files import remove_part_files, write_json
from particleseg_app.errors import NewRunError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_work import ClassesVolume
from particleseg_app.segmentation.containers import LeftOut, left_out_notes, may_hold_containers
from particleseg_app.segmentation.core_unions import UnionRule
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.run_folder import LABELS, PIECES, WORK, read_run_json
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.tube_wall import TubeWall, find_tube
from particleseg_app.segmentation.workers import Workers
from particleseg_app.units import diameter_in_voxels
from particleseg_app.volumes import Scan, open_labels

_TUBE = "tube.json"
_LEFT_OUT = "left_out.json"
_OF_SCAN = "contacts_of_scan.json"


@dataclass(frozen=True)
class FoundParticles:
    """How many particles the labels hold, the tube around them if any, what was left out, and the
    union rule's figures of the scan, if it had contacts to judge.
    """

    count: int
    tube: TubeWall | None
    left_out: LeftOut
    of_scan: list[float] | None


def particles_of_run(
    run_folder: Path,
    scan: Scan,
    settings: RunSettings,
    classes: ClassesVolume,
    factor: float,
    small_core_filter: bool,
    least_voxels: float,
    progress: Progress,
    cancel: CancelToken,
    workers: Workers | None,
    memory_limit_bytes: int,
    union_rule: UnionRule | None,
) -> FoundParticles:
    """Write the labels of a run, or find that an earlier attempt has; notes tell of a container."""
    remove_part_files(run_folder)
    diameter = diameter_in_voxels(settings.particle_diameter_um, settings.voxel_size_um)
    told = run_folder / PIECES / _LEFT_OUT
    of_scan_told = run_folder / PIECES / _OF_SCAN
    tube = None
    if settings.leave_out_containers:
        tube = _tube_of_run(run_folder, scan, diameter, progress, cancel)
    if (run_folder / LABELS).exists():
        # Whole, so an earlier attempt ended right after it.
        with open_labels(run_folder / LABELS) as labels:
            count = labels.count
    else:
        count = particles_from_classes(
            classes,
            scan.shape,
            factor,
            run_folder / WORK,
            run_folder / LABELS,
            settings.min_relative_volume,
            progress,
            cancel,
            small_core_filter=small_core_filter,
            least_voxels=least_voxels,
            workers=workers,
            memory_limit_bytes=memory_limit_bytes,
            leave_out_running_through=settings.leave_out_containers
            and may_hold_containers(scan.shape[0], diameter),
            tube=tube,
            union_rule=union_rule,
            left_out=lambda left_out: write_json(told, asdict(left_out)),
            of_scan=lambda figures: write_json(of_scan_told, {"figures": figures.tolist()}),
        )
    shutil.rmtree(run_folder / WORK, ignore_errors=True)
    left_out = LeftOut()
    if told.exists():
        raw = read_run_json(told)
        left_out = LeftOut(int(raw.get("outside_tube", 0)), int(raw.get("running_through", 0)))
    for note in left_out_notes(left_out, tube, scan.shape[0], settings.voxel_size_um):
        progress.note(note)
    of_scan = read_run_json(of_scan_told).get("figures") if of_scan_told.exists() else None
    return FoundParticles(count, tube, left_out, of_scan)


def _tube_of_run(
    run_folder: Path, scan: Scan, diameter: float, progress: Progress, cancel: CancelToken
) -> TubeWall | None:
    """The tube that an earlier attempt found, or else the one that is found now."""
    path = run_folder / PIECES / _TUBE
    if not path.exists():
        tube = find_tube(scan, diameter, progress, cancel)
        write_json(path, {"tube": None if tube is None else tube.as_dict()})
        return tube
    raw = read_run_json(path)
    try:
        return None if raw["tube"] is None else TubeWall.from_dict(raw["tube"])
    except (KeyError, TypeError, ValueError) as error:
        raise NewRunError(f"{path} is damaged.", "Remove this run and start it again.") from error
