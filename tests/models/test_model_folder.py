"""Model folders are checked before use, and nothing in them is ever executed."""

import json
import os

import numpy as np
import pytest
import torch

from particleseg_app.errors import Cancelled, ModelError
from particleseg_app.models import (
    ImportOptions,
    Predictor,
    find_model,
    import_model,
    list_models,
    open_model,
    quickest_bundled_model,
)
from particleseg_app.models.model_card import Normalisation
from particleseg_app.models.model_folder import build_network, load_network
from particleseg_app.progress import CancelToken

from .tiny_model import plans, write_tiny_model


class Statistics:
    """Grey statistics of a scan whose grey values are 0, 1, … 99, each equally often."""

    histogram_edges = np.arange(-0.5, 100)
    histogram_counts = np.full(100, 7)

    def counts_without_far_padding(self):
        return self.histogram_counts

    def percentile_of(self, counts, percent):
        return percent * 0.99

    def sparse_bright(self):
        return None


def checkpoint_of(entry):
    return entry.checkpoints()[0]


def test_the_network_predicts_probabilities_of_three_classes(tmp_path):
    predictor = Predictor(write_tiny_model(tmp_path / "m"), "cpu", False, CancelToken())
    shares = predictor.predict(torch.randn(2, 1, 32, 32, 32))
    assert shares.shape == (2, 3, 32, 32, 32)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 32, 32, 32))


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_weights_are_loaded_whole_however_they_are_stored(tmp_path, stored):
    entry = write_tiny_model(tmp_path / "m")
    content = torch.load(checkpoint_of(entry), weights_only=True)
    weights = {key: value.to(stored) for key, value in content["network_weights"].items()}
    # Stored as it lay in the memory of a network in another order of its axes.
    turned = {
        key: value.contiguous(memory_format=torch.channels_last_3d) if value.ndim == 5 else value
        for key, value in weights.items()
    }
    torch.save({"network_weights": turned}, checkpoint_of(entry))
    (network,) = load_network(entry)
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert value.is_contiguous()
        assert torch.equal(value, weights[key].float())
    assert all(weight.requires_grad for weight in network.parameters())
    assert network(torch.zeros(1, 1, 32, 32, 32)).isfinite().all()


def test_folds_are_averaged(tmp_path):
    both = write_tiny_model(tmp_path / "both", folds=2)
    tile = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        single = [torch.softmax(network(tile), 1) for network in load_network(both)]
    assert not torch.allclose(single[0], single[1], atol=0.01)
    mean = Predictor(both, "cpu", False, CancelToken()).predict(tile)
    torch.testing.assert_close(mean, (single[0] + single[1]) / 2, atol=0.02, rtol=0)


def test_mirroring_makes_the_prediction_symmetric(tmp_path):
    predictor = Predictor(write_tiny_model(tmp_path / "m"), "cpu", True, CancelToken())
    tile = torch.randn(1, 1, 32, 32, 32)
    turned = predictor.predict(torch.flip(tile, (3,)))
    torch.testing.assert_close(torch.flip(turned, (3,)), predictor.predict(tile), atol=0.02, rtol=0)


def test_cancel_ends_a_prediction_between_layers(tmp_path):
    cancel = CancelToken()
    predictor = Predictor(write_tiny_model(tmp_path / "m"), "cpu", False, cancel)
    cancel.cancel()
    with pytest.raises(Cancelled):
        predictor.predict(torch.zeros(1, 1, 32, 32, 32))


def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    proof = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    torch.save({"network_weights": Hostile()}, checkpoint_of(entry))
    with pytest.raises(ModelError, match="could run code"):
        load_network(entry)
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_a_damaged_checkpoint_is_told_in_one_sentence(tmp_path, content):
    entry = write_tiny_model(tmp_path / "m")
    checkpoint_of(entry).write_bytes(content)
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        load_network(entry)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network_class_name", "os.system"),
        ("network_class_name", "subprocess.Popen"),
        ("conv_op", "os.system"),
        ("nonlin", "builtins.eval"),
    ],
)
def test_plans_may_only_name_known_network_parts(tmp_path, key, value):
    entry = write_tiny_model(tmp_path / "m")
    content = plans()
    architecture = content["configurations"]["3d_fullres"]["architecture"]
    (architecture if key in architecture else architecture["arch_kwargs"])[key] = value
    (entry.folder / "plans.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=value):
        build_network(entry)


def test_a_network_too_large_for_any_machine_is_refused(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    (entry.folder / "plans.json").write_text(json.dumps(plans((4, 100000))))
    with pytest.raises(ModelError, match="too large"):
        build_network(entry)


def test_weights_of_another_network_are_refused(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    (entry.folder / "plans.json").write_text(json.dumps(plans((4, 16))))
    with pytest.raises(ModelError, match="do not fit"):
        load_network(entry)


def test_a_model_with_other_classes_is_refused(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    (entry.folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "pore": 1}}))
    with pytest.raises(ModelError, match="background, core and border"):
        open_model(entry.folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"patch_shape": [32, 32]},
        {"patch_shape": [100000, 32, 32]},
        {"target_diameter_voxels": float("nan")},
        {"target_diameter_voxels": "many"},
        {"normalisation": {"scheme": "fixed", "std": 0}},
        {"normalisation": {"scheme": "exec"}},
        {"normalisation": None},
        {"least_contrast_to_noise": -0.1},
        {"least_contrast_to_noise": 1000},
        {"least_contrast_to_noise": float("nan")},
        {"least_contrast_to_noise": float("inf")},
        {"least_contrast_to_noise": 10**400},
        {"least_contrast_to_noise": "little"},
        {"least_contrast_to_noise": None},
        {"patch_shape": [float("inf"), 32, 32]},
        {"longest_tile_edge": -16},
        {"longest_tile_edge": 100},
        {"longest_tile_edge": 100_000},
        {"longest_tile_edge": float("inf")},
        {"longest_tile_edge": "long"},
        {"longest_tile_edge": 128, "patch_shape": [40, 32, 32]},
        {"normalisation": {"scheme": "fixed", "mean": float("nan")}},
        {"normalisation": {"scheme": "scan_clipped", "low_percentile": float("nan")}},
    ],
)
def test_a_card_with_impossible_values_is_refused(tmp_path, changes):
    with pytest.raises(ModelError, match=r"model_card\.json"):
        write_tiny_model(tmp_path / "m", card_changes=changes)


def test_a_card_says_how_much_noise_the_model_takes(tmp_path):
    silent = write_tiny_model(tmp_path / "silent")
    assert silent.card.least_contrast_to_noise == 0
    careful = write_tiny_model(tmp_path / "m", card_changes={"least_contrast_to_noise": 3})
    assert careful.card.least_contrast_to_noise == 3
    for bundled in ("default", "light"):
        assert find_model(bundled).card.least_contrast_to_noise == 2.5


def test_a_network_that_normalises_its_tiles_may_not_have_others(tmp_path):
    with pytest.raises(ModelError, match="tiles larger than its patch"):
        write_tiny_model(tmp_path / "m", card_changes={"longest_tile_edge": 128})
    for bundled in ("default", "light"):
        assert find_model(bundled).card.longest_tile_edge == 128


def test_an_unknown_model_is_told_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path))
    write_tiny_model(tmp_path / "models" / "other")
    write_tiny_model(tmp_path / "models" / "default")
    (tmp_path / "models" / "broken").mkdir()
    assert [entry.name for entry in list_models()] == ["default", "other"]
    assert find_model("other").card.title == "Tiny test model"
    assert find_model(str(tmp_path / "models" / "other")).name == "other"
    with pytest.raises(ModelError, match="nothing") as caught:
        find_model("nothing")
    assert "default, other" in caught.value.remedy


def test_an_imported_model_called_like_a_bundled_one_goes_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path))
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    write_tiny_model(tmp_path / "models" / "default")
    assert quickest_bundled_model() == "default"
    mine = write_tiny_model(tmp_path / "data" / "models" / "light").folder
    assert quickest_bundled_model() == "default"  # an imported one is none that comes with it
    assert [entry.name for entry in list_models()] == ["default", "light"]
    bundled = write_tiny_model(tmp_path / "models" / "light").folder
    assert quickest_bundled_model() == "light"
    assert [entry.name for entry in list_models()] == ["default", "light", str(mine)]
    assert [find_model(entry.name).folder for entry in list_models()[1:]] == [bundled, mine]
    with pytest.raises(ModelError, match="There is a model “light” already"):
        import_model(write_tiny_model(tmp_path / "new").folder, ImportOptions(name="light"))


def test_fingerprints_tell_weights_apart(tmp_path):
    one = write_tiny_model(tmp_path / "one", seed=1)
    same = write_tiny_model(tmp_path / "two", seed=1)
    other = write_tiny_model(tmp_path / "three", seed=2)
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("fact", "value", "counts"),
    [
        ("figures", {"f1": 0.9}, False),
        ("limits", "Not for glass.", False),
        ("target_diameter_voxels", 30.0, True),
        ("normalisation", {"scheme": "fixed", "mean": 5.0, "std": 2.0}, True),
        ("least_contrast_to_noise", 1.5, True),
    ],
)
def test_a_fingerprint_counts_what_decides_and_not_what_is_told(tmp_path, fact, value, counts):
    model = write_tiny_model(tmp_path / "model")
    before = model.fingerprint()
    card = model.folder / "model_card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {fact: value}))
    assert (model.fingerprint() != before) == counts


def test_clipped_normalisation_uses_the_whole_scan_and_ignores_outliers():
    scaling = Normalisation("scan_clipped", 10, 90).for_scan(Statistics())
    clipped = np.clip(np.arange(100), 9.9, 89.1)
    assert (scaling.low, scaling.high) == pytest.approx((9.9, 89.1))
    assert (scaling.mean, scaling.std) == pytest.approx((clipped.mean(), clipped.std()))


def test_fixed_normalisation_is_the_z_score_of_the_training_set():
    scaling = Normalisation("fixed", mean=5850.3, std=7078.3).for_scan(Statistics())
    assert (scaling.mean, scaling.std) == (5850.3, 7078.3)
    assert scaling.low == -np.inf
