"""One run from scan to labels, in stages that each go on where a killed one ended."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from particleseg_app import __version__
from particleseg_app.durable_files import write_json
from particleseg_app.errors import Cancelled, NewRunError, UserError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, check_memory_limit
from particleseg_app.models import choose_device, find_model, open_predictor
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_work import ClassesVolume
from particleseg_app.segmentation.chunk_sums import ChunkSums
from particleseg_app.segmentation.core_unions import each_contact_alone, union_rule_of
from particleseg_app.segmentation.denoised_scan import denoising_note
from particleseg_app.segmentation.even_slices import evening_note
from particleseg_app.segmentation.failures import in_words
from particleseg_app.segmentation.large_particles import completed_note
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.network_looks import NetworkOfRun, network_classes
from particleseg_app.segmentation.network_on_workers import MakePredictor, device_of_workers
from particleseg_app.segmentation.particles_of_run import particles_of_run
from particleseg_app.segmentation.plan import plan_network_run
from particleseg_app.segmentation.rings import rings_note
from particleseg_app.segmentation.run_clock import RunClock
from particleseg_app.segmentation.run_folder import (
    FAILURE,
    LABELS,
    ORIGIN,
    PASSED_BY,
    PIECES,
    SUMMARY,
    RunResult,
    check_same_settings,
    claim,
    read_origin,
    read_run_json,
)
from particleseg_app.segmentation.run_inference import inference_of_run
from particleseg_app.segmentation.seen_scan import seen, view_note
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.threshold_stage import run_threshold_stage
from particleseg_app.segmentation.workers import Workers
from particleseg_app.units import diameter_in_voxels
from particleseg_app.volumes import Scan

NOTHING_FOUND = (
    "No particles were found. Check voxel size and particle diameter{threshold}, and that the "
    "particles are brighter than what surrounds them."
)


def segment(
    run_folder: Path,
    scan: Scan,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    *,
    make_predictor: MakePredictor | None = None,
    tiles_per_chunk: int | None = None,
    workers: Workers | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> RunResult:
    """Find and separate the particles of a scan; the same call continues an interrupted run.

    Raises `UserError` (settings, model, disk, memory) or `Cancelled`; either way everything that
    was finished stays in `run_folder`. `workers` (a cluster, None for this process alone),
    `make_predictor` and `tiles_per_chunk` do not change a result; the latter two exist for tests.
    Without `make_predictor` the engine is chosen as `settings.inference` says.
    Nor does `memory_limit_bytes`, which bounds the memory of each process and may be another when a
    run is continued.
    """
    settings.check_for(scan.shape)
    check_memory_limit(memory_limit_bytes)
    if (run_folder / SUMMARY).exists():
        check_same_settings(run_folder, settings)
        if (run_folder / LABELS).exists():
            # An earlier attempt may have been killed right before this.
            shutil.rmtree(run_folder / PIECES, ignore_errors=True)
            return finished_result(run_folder)
        (run_folder / SUMMARY).unlink()  # somebody took the labels away: they are made again
    clock = RunClock(run_folder)
    try:
        return _segment(
            run_folder,
            scan,
            settings,
            progress,
            cancel,
            make_predictor,
            tiles_per_chunk,
            workers,
            memory_limit_bytes,
            clock,
        )
    except Cancelled:
        raise
    except Exception as error:
        problem = error if isinstance(error, UserError) else in_words(error, run_folder)
        if problem is None:
            raise
        _note_failure(run_folder, problem)
        if problem is error:
            raise
        raise problem from error
    finally:
        # Nothing is written into a finished run.
        if not (run_folder / SUMMARY).exists():
            clock.end()


def finished_result(run_folder: Path) -> RunResult:
    """The result of a finished run."""
    summary = read_run_json(run_folder / SUMMARY)
    count = summary.get("particle_count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise NewRunError(
            f"The summary of the run in {run_folder} is damaged.",
            "Remove this run and start again.",
        )
    return RunResult(run_folder / LABELS, count, summary)


def _segment(
    run_folder: Path,
    scan: Scan,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    make_predictor: MakePredictor | None,
    tiles_per_chunk: int | None,
    workers: Workers | None,
    memory_limit_bytes: int,
    clock: RunClock,
) -> RunResult:
    summary: dict[str, Any] = {
        "program_version": __version__,
        "method": settings.method,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    said_before = len(progress.snapshot().messages)  # of the import, and that a run is continued
    pieces_folder = run_folder / PIECES
    if scan.field_of_view is not None:
        progress.note(view_note(scan.field_of_view))
    classes: ClassesVolume
    least_voxels = 0.0
    if settings.method == "nnunet":
        progress.start("Loading the model")
        entry = find_model(settings.model)
        if workers is None:
            device = choose_device(settings.device)
        else:
            device = device_of_workers(workers, settings.device, cancel)
        check_same_settings(run_folder, settings)
        earlier = read_origin(run_folder)
        shown = network_input(scan, entry.card, settings, progress, cancel, earlier)
        # The chunks of an earlier attempt stay as they are.
        tiles_per_chunk = tiles_per_chunk or _tiles_per_chunk_before(run_folder)
        # Workers of a cluster share the chunks, so these stay small.
        own_card = device if workers is None else None
        plan = plan_network_run(
            scan.shape,
            settings,
            entry.card,
            tiles_per_chunk,
            memory_limit_bytes,
            own_card,
            shown.reading_bytes,
        )
        union_rule = union_rule_of(entry)
        if union_rule is not None and shown.denoising is not None:
            union_rule = each_contact_alone(union_rule)
        origin = {
            "scan_shape": list(scan.shape),
            "model_fingerprint": entry.fingerprint(),
            "tiles_per_chunk": plan.tiles_per_chunk,
            "overlap": list(plan.overlap),
        }
        if union_rule is not None:
            plan = replace(plan, core_factor=union_rule.core_factor)
            origin["union_rule"] = union_rule.fingerprint()
        inference = None
        if make_predictor is None:
            inference = inference_of_run(
                earlier, entry, device.id, settings.inference, progress, cancel
            )
            make_predictor = functools.partial(open_predictor, inference=inference)
            recorded = {"inference": inference.id} if earlier is None else earlier
            origin |= {key: recorded[key] for key in ("inference",) if key in recorded}
        if shown.rings is not None:
            origin["rings"] = shown.rings.as_dict() if earlier is None else earlier["rings"]
            progress.note(rings_note(shown.rings))
        if shown.evening is not None:
            origin["evening"] = shown.evening.as_dict()
            progress.note(evening_note(shown.evening))
        if shown.denoising is not None:
            origin["denoising"] = shown.denoising.as_dict()
            least_voxels = shown.denoising.least_voxels
            progress.note(denoising_note(shown.denoising, settings.voxel_size_um))
        claim(run_folder, settings, origin)
        clock.begin()
        completed = network_classes(
            plan,
            settings,
            NetworkOfRun(entry, device.id, make_predictor, shown, workers, plan.mirroring),
            union_rule,
            pieces_folder,
            progress,
            cancel,
            memory_limit_bytes,
        )
        classes = completed.classes
        if completed.count:
            progress.note(completed_note(completed.count))
        skipped = ChunkSums(pieces_folder, plan).background_tiles()
        if skipped:
            progress.note(f"{skipped} of {plan.tile_count} tiles {PASSED_BY}")
        factor, small_core_filter = plan.scale_factor, True
        summary |= {
            "large_particles_completed": completed.count,
            "model": {"name": entry.card.name, "version": entry.card.version, **origin}
            | ({} if shown.rings is None else {"rings": shown.rings.in_short()}),
            "device": device.title,
            "scale_factor": plan.scale_factor,
            "working_shape": list(plan.working_shape),
            "tile_shape": list(plan.tile_shape),
            "tiles": plan.tile_count,
            "tiles_skipped": skipped,
            "inference": None if inference is None else inference.title,
        }
    else:
        threshold = settings.threshold
        if threshold is None:
            threshold = scan.statistics.matrix_and_particle_threshold()
        claim(run_folder, settings, {"scan_shape": list(scan.shape), "threshold": threshold})
        clock.begin()
        classes = run_threshold_stage(
            seen(scan),
            settings,
            threshold,
            pieces_folder,
            progress,
            cancel,
            workers=workers,
            memory_limit_bytes=memory_limit_bytes,
        )
        factor, small_core_filter, union_rule = 1.0, False, None
        summary |= {"threshold": threshold, "scale_factor": 1.0}
    found = particles_of_run(
        run_folder,
        scan,
        settings,
        classes,
        factor,
        small_core_filter,
        least_voxels,
        progress,
        cancel,
        workers,
        memory_limit_bytes,
        union_rule,
    )
    if found.count == 0:
        also = ", the threshold" if settings.method == "threshwater" else ""
        progress.note(NOTHING_FOUND.format(threshold=also))
    summary |= {
        "particle_count": found.count,
        "containers_left_out": found.left_out.count,
        "tube": None if found.tube is None else found.tube.as_dict(),
        "contacts_of_scan": found.of_scan,
        "diameter_voxels": diameter_in_voxels(
            settings.particle_diameter_um, settings.voxel_size_um
        ),
        "seconds": round(clock.total_seconds, 1),
        "attempts": clock.attempts,
        "notes": list(progress.snapshot().messages[said_before:]),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(run_folder / SUMMARY, summary)
    shutil.rmtree(pieces_folder, ignore_errors=True)
    return finished_result(run_folder)


def _tiles_per_chunk_before(run_folder: Path) -> int | None:
    if not (run_folder / ORIGIN).exists():
        return None
    before = read_run_json(run_folder / ORIGIN).get("tiles_per_chunk")
    return before if isinstance(before, int) and before > 0 else None


def _note_failure(run_folder: Path, error: UserError) -> None:
    """Keep the reason with the run, if it got as far as having a folder and there is room."""
    if run_folder.is_dir():
        try:
            write_json(run_folder / FAILURE, {"message": str(error)})
        except OSError:
            pass
