"""The bundled model on scans that no training scan came from, against the classical method."""

import pytest
import tifffile

from particleseg_app.evaluation import evaluate
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan

from .independent_scans import spaced_ore, touching_ore

VOXEL_SIZE_UM = 10.0


def score(case, folder, method):
    diameter = case.diameter_voxels * VOXEL_SIZE_UM
    settings = RunSettings(VOXEL_SIZE_UM, diameter, method=method, device="cpu")
    with open_scan(folder / "scan.h5") as scan:
        result = segment(folder / method, scan, settings, Progress(), CancelToken())
    with open_labels(result.labels_path) as labels:
        return evaluate(case.labels, labels.read(Box.whole(labels.shape)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [spaced_ore, touching_ore])
def test_the_network_finds_particles_and_beats_threshwater(tmp_path, make):
    case = make(shape=(56, 72, 72))
    tifffile.imwrite(tmp_path / "scan.tif", case.grey)
    import_scan(
        inspect_source(tmp_path / "scan.tif"), tmp_path / "scan.h5", Progress(), CancelToken()
    )
    network = score(case, tmp_path, "nnunet")
    classical = score(case, tmp_path, "threshwater")
    assert network.reference_count > 10
    assert network.f1_match >= 0.90
    assert network.f1_match > classical.f1_match
    assert network.f1_instance > classical.f1_instance


def test_the_bundled_model_is_small_and_says_what_it_is():
    entry = find_model("default")
    size = sum(path.stat().st_size for path in entry.folder.rglob("*") if path.is_file())
    assert size < 20 * 1024**2
    assert entry.card.made_from
    assert entry.card.limits
    assert entry.card.licence == "Apache-2.0"
