"""Makes the review queue of a run: every particle and every contact with a calibrated score.

First the shape and the grey values of every particle and contact are looked at; from these a first
probability says which are worth a second look by the network (`second_look`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.errors import RunError, UserError
from particleseg_app.models import (
    ModelEntry,
    choose_device,
    choose_inference,
    find_model,
    open_predictor,
)
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.candidates import (
    MARGIN,
    Candidate,
    Evidence,
    Labels,
    gather_evidence,
)
from particleseg_app.review.cases import KINDS, ReviewCase, case_id
from particleseg_app.review.evidence import Point
from particleseg_app.review.looking_order import in_looking_order
from particleseg_app.review.missed import unpack_region
from particleseg_app.review.network_evidence import (
    mask_network_evidence,
    pair_network_evidence,
    particle_network_evidence,
)
from particleseg_app.review.scoring import Scores, load_scores
from particleseg_app.review.second_look import SHIFT, SecondLook, Window
from particleseg_app.review.windows import LONGEST_EDGE, WIDER_EDGES, plan_windows
from particleseg_app.review.wording import in_words
from particleseg_app.segmentation.core_unions import each_contact_alone, union_rule_of
from particleseg_app.segmentation.failures import is_of_card
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.network_stage import TilePredictor
from particleseg_app.segmentation.seen_scan import ScanWithView, seen
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.tiles import tile_shape_for
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box, Shape, diameter_in_voxels, scale_factor

if TYPE_CHECKING:
    import pandas as pd

MakePredictor = Callable[[ModelEntry, str, bool, CancelToken], TilePredictor]
# What a first look finds less probable than this is not worth the network's time.
DOUBTFUL = 0.01
_WITHOUT_NETWORK = "{} scores rest on shape and grey values alone: {}"
# A false particle is gone with one key and a missed one is there, and neither distorts another
# one: they wait behind mergers and splitters that are a quarter as probable.
WEIGHT_OF_SINGLE = 0.25
# In average diameters.
WITHIN_REACH = 3.0


def find_cases(
    scan: ScanWithView,
    labels: Labels,
    table: pd.DataFrame,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    *,
    make_predictor: MakePredictor | None = None,
    scores: Scores | None = None,
    origin: dict[str, Any] | None = None,
    of_scan: np.ndarray | None = None,
) -> list[ReviewCase]:
    """All cases of a run, the most expected errors first.

    `labels` and `table` are the run's (or the mended ones), `settings` those of the run: its model
    looks again at doubtful particles. If the model is not there any more, or the run was
    ThreshWater's, shape and grey values decide alone, and a note says so; another note says when
    the probabilities were measured with another model. Memory is bounded: one particle or one
    window at a time for each core. `origin` is what the run started from (`read_origin`): the model
    is shown the scan as it was then; where it is None, the noise is measured again. `of_scan` are
    the run's `figures_of_scan`. Raises `Cancelled`, and `RunError` where `origin` is damaged.
    """
    scores = scores or load_scores()
    smallest = settings.min_relative_volume
    found = gather_evidence(seen(scan), labels, table, progress, cancel, smallest)
    if settings.method == "nnunet":
        _note_of_other_model(settings, scores, progress)
        doubtful = doubtful_candidates(found, settings.method, scores)
        doubtful = within_reach(doubtful, table, settings)
        second_look(
            scan,
            labels,
            settings,
            doubtful,
            progress,
            cancel,
            make_predictor=make_predictor,
            origin=origin,
            of_scan=of_scan,
        )
    return make_cases(found, settings.method, scan.shape, scores)


def _note_of_other_model(settings: RunSettings, scores: Scores, progress: Progress) -> None:
    """Say when the scores were fitted on runs of another model than the run's."""
    try:
        card = find_model(settings.model).card
    except UserError:
        return  # told by the second look
    of_run = f"{card.name} {card.version}"
    if not scores.known_for(of_run):
        progress.note(
            f"The probabilities were measured with the model {scores.fitted_on}; "
            f"for runs of {of_run} they are rougher."
        )


def second_look(
    scan: ScanWithView,
    labels: Labels,
    settings: RunSettings,
    doubtful: list[Candidate],
    progress: Progress,
    cancel: CancelToken,
    *,
    make_predictor: MakePredictor | None = None,
    origin: dict[str, Any] | None = None,
    of_scan: np.ndarray | None = None,
) -> None:
    """Add the network's evidence to candidates, the most doubtful first in the list.

    `origin` and `of_scan` as for `find_cases`.
    """
    if not doubtful:
        return
    make = make_predictor or _fastest

    def on_processor() -> TilePredictor:
        progress.note("The graphics card failed, so the network looks again on the processor.")
        return make(entry, "cpu", False, cancel)

    try:
        entry = find_model(settings.model)
        union_rule = union_rule_of(entry)
        device = choose_device(settings.device)
        predictor = make(entry, device.id, False, cancel)
    except UserError as error:
        progress.note(_WITHOUT_NETWORK.format("The", error.sentence))
        return
    except RuntimeError as error:
        if not is_of_card(error):
            raise
        predictor = on_processor()
    card = entry.card
    factor = scale_factor(
        card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
    )
    shape = working_shape(scan.shape, factor)
    shown = network_input(scan, card, settings, progress, cancel, origin)
    if union_rule is not None and shown.denoising is not None:
        union_rule = each_contact_alone(union_rule)
    tile = tile_shape_for(shape, card.patch_shape)
    look = SecondLook(
        shown.volume,
        labels,
        shape,
        tile,
        shown.scaling,
        predictor,
        on_processor,
        union_rule,
        of_scan,
    )
    boxes = [look.to_working(candidate.box) for candidate in doubtful]
    # Scattered items are cheapest one tile at a time, crowded ones in windows of several.
    edges = [max(SHIFT, min(card.patch_shape) - SHIFT), *WIDER_EDGES]
    if math.prod(shape) <= LONGEST_EDGE**3:
        edges.append(max(shape))  # a small scan is one window
    windows = min(
        (plan_windows(boxes, shape, edge) for edge in edges),
        key=lambda plan: sum(look.tiles(window.box) for window in plan),
    )
    progress.start("Looking again with the network", len(windows), "windows")
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="evidence") as pool:
        for planned in windows:
            cancel.check()
            try:
                window = look.window(planned.box)
            except RunError as error:
                progress.note(_WITHOUT_NETWORK.format("Some of the", error.sentence))
                return
            margin = window.margin

            def one(
                number: int, window: Window = window, margin: np.ndarray = margin
            ) -> tuple[dict[str, float], list[Point]]:
                part, inside = _part(window, margin, boxes[number].expanded(1, shape))
                candidate = doubtful[number]
                if candidate.region:
                    region = unpack_region(candidate.region, candidate.box.shape)
                    mask = look.region_at_working_scale(region, candidate.box, part.box)
                    return mask_network_evidence(part, mask, inside)[0], []
                if len(candidate.labels) == 1:
                    return particle_network_evidence(part, candidate.labels[0], inside)
                first, second = candidate.labels
                return pair_network_evidence(part, (first, second), inside), []

            answers = pool.map(one, planned.items)
            for number, (evidence, points) in zip(planned.items, answers, strict=True):
                doubtful[number].evidence.update(evidence)
                if points:
                    doubtful[number].markers = tuple(look.to_scan(point) for point in points)
            progress.advance()


def _fastest(
    entry: ModelEntry, device_id: str, mirroring: bool, cancel: CancelToken
) -> TilePredictor:
    choice = choose_inference(entry, device_id, "auto", cancel)
    return open_predictor(entry, device_id, mirroring, cancel, choice.inference)


def make_cases(found: Evidence, method: str, shape: Shape, scores: Scores) -> list[ReviewCase]:
    """Cases of all candidates, with probabilities, texts and order."""
    cases = []
    for kind in KINDS:
        candidates = found.of(kind)
        full = scores.models.get(f"{method}/{kind}/network")
        usable = [full is not None and full.usable(candidate.evidence) for candidate in candidates]
        for network in (False, True):
            chosen = [c for c, u in zip(candidates, usable, strict=True) if u == network]
            if not chosen or not scores.knows(method, kind):
                continue
            model = scores.model(method, kind, network)
            probabilities = model.probabilities([candidate.evidence for candidate in chosen])
            for candidate, probability in zip(chosen, probabilities.tolist(), strict=True):
                cases.append(
                    ReviewCase(
                        case_id(kind, candidate.labels, candidate.place),
                        kind,
                        candidate.labels,
                        probability,
                        model.mean_excess if kind in ("merger", "splitter") else WEIGHT_OF_SINGLE,
                        candidate.evidence,
                        in_words(kind, candidate.evidence, model.pushes(candidate.evidence)),
                        candidate.box
                        if candidate.region
                        else candidate.box.expanded(MARGIN, shape),
                        candidate.place,
                        candidate.markers if kind == "merger" else (),
                        candidate.region,
                    )
                )
    return in_looking_order(cases)


def doubtful_candidates(found: Evidence, method: str, scores: Scores) -> list[Candidate]:
    """Candidates that a first look finds probable enough, the most probable first."""
    first: dict[int, float] = {}
    candidates = found.everything()
    for kind in KINDS:
        chosen = found.of(kind)
        if not scores.knows(method, kind):
            continue
        model = scores.model(method, kind, False)
        probabilities = model.probabilities([candidate.evidence for candidate in chosen])
        for candidate, probability in zip(chosen, probabilities.tolist(), strict=True):
            first[id(candidate)] = max(first.get(id(candidate), 0.0), probability)
    chosen = [candidate for candidate in candidates if first.get(id(candidate), 0.0) >= DOUBTFUL]
    return sorted(chosen, key=lambda candidate: (-first[id(candidate)], candidate.labels))


def within_reach(
    candidates: list[Candidate], table: pd.DataFrame, settings: RunSettings
) -> list[Candidate]:
    """Without particles so large that the network sees nothing inside them at the run's scale.

    Their run may have completed them at a coarser scale (docs/large_particles.md).
    """
    diameter = diameter_in_voxels(settings.particle_diameter_um, settings.voxel_size_um)
    most = math.pi / 6 * (WITHIN_REACH * diameter) ** 3
    large = set(table["label"][table["volume_voxels"] > most].tolist())
    return [
        candidate
        for candidate in candidates
        if len(candidate.labels) != 1 or candidate.labels[0] not in large
    ]


def _part(window: Window, margin: np.ndarray, box: Box) -> tuple[Window, np.ndarray]:
    """The part of a window around one candidate."""
    box = box.intersection(window.box)
    inside = box.within(window.box)
    every = slice(None)
    return (
        Window(
            box,
            window.shares[(every, every, *inside)],
            window.labels[inside],
            window.parts[(every, *inside)],
        ),
        margin[inside],
    )
