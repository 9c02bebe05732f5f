"""The bundled models on scans that no training scan came from, against the classical method."""

import pytest
import tifffile

from particleseg_app.evaluation import evaluate
from particleseg_app.models import list_models, quickest_bundled_model
from particleseg_app.models.model_folder import model_root
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan

from .independent_scans import spaced_ore, touching_ore

VOXEL_SIZE_UM = 10.0


def score(case, folder, method, model="default"):
    diameter = case.diameter_voxels * VOXEL_SIZE_UM
    settings = RunSettings(VOXEL_SIZE_UM, diameter, method=method, model=model, device="cpu")
    with open_scan(folder / "scan.h5") as scan:
        result = segment(folder / method, scan, settings, Progress(), CancelToken())
    with open_labels(result.labels_path) as labels:
        return evaluate(case.labels, labels.read(Box.whole(labels.shape)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "model"), [(spaced_ore, quickest_bundled_model()), (touching_ore, "default")]
)
def test_the_network_finds_particles_and_beats_threshwater(tmp_path, make, model):
    case = make(shape=(56, 72, 72))
    tifffile.imwrite(tmp_path / "scan.tif", case.grey)
    import_scan(
        inspect_source(tmp_path / "scan.tif"), tmp_path / "scan.h5", Progress(), CancelToken()
    )
    network = score(case, tmp_path, "nnunet", model)
    classical = score(case, tmp_path, "threshwater")
    assert network.reference_count > 10
    assert network.f1_match >= 0.90
    assert network.f1_match > classical.f1_match
    assert network.f1_instance > classical.f1_instance


def test_the_bundled_model_is_smalls_are_small_and_say_what_they_are():
    bundled = [entry for entry in list_models() if entry.folder.parent == model_root()]
    assert bundled[0].name == "default"
    size = 0
    for entry in bundled:
        size += sum(path.stat().st_size for path in entry.folder.rglob("*") if path.is_file())
        assert entry.card.name == entry.name  # by which a run finds it again
        assert entry.card.made_from
        assert entry.card.limits
        assert entry.card.licence == "Apache-2.0"
        # Where there is a choice, each says what it is for.
        assert entry.card.purpose or len(bundled) == 1
    assert size < 60 * 1024**2
