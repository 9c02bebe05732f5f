"""The diameter that is proposed is that of the particles, also where a threshold is misled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from particleseg_app.errors import Cancelled, CardError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import diameter_proposal, particle_looks
from particleseg_app.segmentation.diameter_proposal import propose_diameter
from particleseg_app.volumes import DiameterProposal, Scan, diameter_by_threshold
from tests.benchmarks.accuracy_cases import bundled_sample
from tests.benchmarks.proposed_diameter import noisy, true_diameter
from tests.independent_scans import LabelledScan
from tests.volumes.sources import imported


@pytest.fixture(scope="module")
def sample() -> LabelledScan:
    return bundled_sample()


@contextmanager
def scan_of(grey: np.ndarray, folder: Path) -> Iterator[Scan]:
    tifffile.imwrite(folder / "scan.tif", grey)
    with imported(folder / "scan.tif", folder / "scan.h5") as scan:
        yield scan


def proposed(grey: np.ndarray, folder: Path) -> DiameterProposal | None:
    with scan_of(grey, folder) as scan:
        return propose_diameter(scan, Progress(), CancelToken())


@pytest.mark.parametrize("contrast_to_noise", [None, 1.2], ids=["as it is", "noisy"])
def test_particles_are_as_large_as_proposed(
    sample: LabelledScan, contrast_to_noise: float | None, tmp_path: Path
) -> None:
    case = sample if contrast_to_noise is None else noisy(sample, contrast_to_noise)
    proposal = proposed(case.grey, tmp_path)
    assert proposal is not None
    assert proposal.diameter_voxels == pytest.approx(true_diameter(sample.labels), rel=0.15)
    assert proposal.low < proposal.diameter_voxels < proposal.high
    assert proposal.confidence == "good"
    assert proposal.explanation.endswith(".")


def test_particles_wider_than_the_threshold_finds_them(
    sample: LabelledScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start far too low, as grains and pores inside particles may give it."""
    grey = ndimage.zoom(sample.grey[:, 30:126, 30:126].astype(np.float32), 2, order=1)
    pores = DiameterProposal(6.0, 5.0, 7.0, "poor", "Measured on pores.")
    monkeypatch.setattr(diameter_proposal, "diameter_by_threshold", lambda *_: pores)
    proposal = proposed(grey.astype(np.uint16), tmp_path)
    assert proposal is not None
    assert proposal.diameter_voxels == pytest.approx(2 * true_diameter(sample.labels), rel=0.2)


def test_a_few_large_particles_are_not_taken_for_what_lies_inside_them(
    sample: LabelledScan, tmp_path: Path
) -> None:
    cut = (slice(0, 60), slice(10, 70), slice(10, 70))
    grey = ndimage.zoom(sample.grey[cut].astype(np.float32), 3, order=1)
    proposal = proposed(grey.astype(np.uint16), tmp_path)
    assert proposal is not None
    assert 0.75 < proposal.diameter_voxels / (3 * true_diameter(sample.labels)) < 1.35
    assert proposal.confidence == "poor"


def test_a_thin_stack_is_measured_in_its_slices(sample: LabelledScan, tmp_path: Path) -> None:
    with scan_of(sample.grey[:12], tmp_path) as scan:
        by_threshold = diameter_by_threshold(scan, CancelToken())
        assert by_threshold is not None
        assert propose_diameter(scan, Progress(), CancelToken()) == by_threshold


def test_nothing_is_proposed_where_there_is_nothing(tmp_path: Path) -> None:
    assert proposed(np.full((40, 50, 60), 100, np.uint16), tmp_path) is None


@pytest.mark.parametrize(
    "failure",
    [CardError("The graphics card is gone.", ""), RuntimeError("CUDA error: lost"), MemoryError()],
    ids=["told", "of the card", "memory"],
)
def test_where_no_network_can_look_the_threshold_proposes(
    sample: LabelledScan, failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(particle_looks, "open_predictor", fail)
    with scan_of(sample.grey[:64, :64, :64], tmp_path) as scan:
        by_threshold = diameter_by_threshold(scan, CancelToken())
        assert by_threshold is not None
        assert propose_diameter(scan, Progress(), CancelToken()) == by_threshold


def test_a_mistake_of_the_program_is_not_hidden(
    sample: LabelledScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(particle_looks, "open_predictor", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        proposed(sample.grey[:64, :64, :64], tmp_path)


def test_it_ends_between_two_parts(
    sample: LabelledScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = CancelToken()
    look = particle_looks.Looks._particles
    seen = []

    def cancelled_after_two(*arguments: object) -> np.ndarray:
        seen.append(arguments)
        if len(seen) == 2:
            cancel.cancel()
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(particle_looks.Looks, "_particles", cancelled_after_two)
    with scan_of(sample.grey, tmp_path) as scan, pytest.raises(Cancelled):
        propose_diameter(scan, Progress(), cancel)
    assert len(seen) == 2
