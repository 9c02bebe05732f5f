"""Models from elsewhere: converted to the same network, and never executed."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from particleseg_app.errors import ModelError
from particleseg_app.models import find_model, list_models
from particleseg_app.models.model_folder import load_network
from particleseg_app.models.model_import import ImportOptions, import_model
from particleseg_app.models.safe_loading import load_plain_pickle

from .tiny_model import write_tiny_model

nnunet_utils = pytest.importorskip("particleseg3d.utils.nnunet_utils")

TRAINER = "nnUNetTrainerV2__nnUNetPlansv2.1"


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def original_network(strides, kernels, base=4, seed=0):
    """The network class of the published program, with random weights."""
    torch.manual_seed(seed)
    network = nnunet_utils.Generic_UNet(
        1, base, 3, len(strides), 2, 2,
        torch.nn.Conv3d, torch.nn.InstanceNorm3d, {"eps": 1e-5, "affine": True},
        torch.nn.Dropout3d, {"p": 0, "inplace": True},
        torch.nn.LeakyReLU, {"negative_slope": 1e-2, "inplace": True},
        False, False, lambda x: x, nnunet_utils.InitWeights_He(1e-2),
        strides, kernels, False, True, True,
    )  # fmt: skip
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.3, 0.5)
    return network.eval()


def write_version_1(folder, strides, kernels, folds=2):
    """The layout of the published download, with what such checkpoints hold beside weights."""
    trainer = folder / "3d_fullres" / "Task500_ParticleSeg3D" / TRAINER
    trainer.mkdir(parents=True)
    patch = np.array([32, 32, 32])
    with (trainer / "plans.pkl").open("wb") as file:
        pickle.dump({"plans_per_stage": {0: {"patch_size": patch}}, "num_classes": 2}, file)
    networks = []
    for fold in range(folds):
        (trainer / f"fold_{fold}").mkdir()
        networks.append(original_network(strides, kernels, seed=fold))
        debug = {
            "net_num_pool_op_kernel_sizes": json.dumps(strides),
            "net_conv_kernel_sizes": json.dumps(kernels),
            "base_num_features": "4",
            "num_classes": "3",
            "num_input_channels": "1",
            "conv_per_stage": "2",
        }
        (trainer / f"fold_{fold}" / "debug.json").write_text(json.dumps(debug))
        checkpoint = {
            "epoch": 1000,
            "state_dict": networks[-1].state_dict(),
            "optimizer_state_dict": {"param_groups": [{"lr": 0.01}]},
            "plot_stuff": ([np.float64(0.5), 0.4], [np.float32(0.2)], [], []),
            "best_stuff": (np.float64(0.9), None, None),
        }
        torch.save(checkpoint, trainer / f"fold_{fold}" / "model_best.model")
    return networks


CUBIC = ([[2, 2, 2]] * 3, [[3, 3, 3]] * 4)
FLAT_FIRST = ([[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3], [3, 3, 3]])


@pytest.mark.parametrize(("strides", "kernels"), [CUBIC, FLAT_FIRST])
def test_logits_of_a_version_1_model_agree_with_the_original(tmp_path, strides, kernels):
    originals = write_version_1(tmp_path / "download", strides, kernels)
    entry = import_model(tmp_path / "download", ImportOptions(name="published"))
    tile = torch.randn(1, 1, 32, 32, 32)
    for original, imported in zip(originals, load_network(entry), strict=True):
        with torch.inference_mode():
            expected, result = original(tile), imported(tile)
        assert expected.std() > 0.1
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_the_published_model_keeps_its_own_size_and_grey_scale(tmp_path):
    write_version_1(tmp_path / "download", *CUBIC)
    import_model(tmp_path / "download", ImportOptions(name="published"))
    card = find_model("published").card
    assert card.target_diameter_voxels == 60
    assert card.normalisation.scheme == "fixed"
    assert card.normalisation.mean == 5850.29762143569
    assert card.normalisation.std == 7078.294543817302
    assert card.patch_shape == (32, 32, 32)
    assert "published" in [entry.name for entry in list_models()]


def test_a_zip_is_taken_like_a_folder(tmp_path):
    write_version_1(tmp_path / "download", *CUBIC, folds=1)
    archive = tmp_path / "weights.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for path in (tmp_path / "download").rglob("*"):
            content.write(path, path.relative_to(tmp_path / "download"))
    assert import_model(archive).name == "weights"
    assert len(find_model("weights").checkpoints()) == 1


def test_a_version_2_folder_is_taken(tmp_path):
    tiny = write_tiny_model(tmp_path / "tiny", folds=2)
    plans = json.loads((tiny.folder / "plans.json").read_text())
    options = ImportOptions("mine", 24, 2, grey_mean=100, grey_std=20)
    entry = import_model(tiny.folder, options)
    assert plans["configurations"]["3d_fullres"]["patch_size"] == list(entry.card.patch_shape)
    assert (entry.card.target_diameter_voxels, entry.card.normalisation.mean) == (24, 100)
    tile = torch.randn(1, 1, 32, 32, 32)
    for before, after in zip(load_network(tiny), load_network(entry), strict=True):
        with torch.inference_mode():
            torch.testing.assert_close(after(tile), before(tile))


class Hostile:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def test_a_model_trained_here_keeps_what_its_card_says(tmp_path):
    changes = {"made_from": "Our slag.", "limits": "Few.", "training": {"class_offsets": [1, 2, 3]}}
    folder = write_tiny_model(tmp_path / "slag", card_changes=changes).folder
    entry = import_model(folder, ImportOptions(border_thickness_voxels=1.5))
    card = entry.card
    assert (card.target_diameter_voxels, card.border_thickness_voxels) == (12, 1.5)
    assert (card.normalisation.low_percentile, card.normalisation.high_percentile) == (1, 99)
    assert (card.title, card.limits) == ("slag", "Few.")
    assert card.made_from == "Imported from slag (nnU-Net version 2). Our slag."
    raw = json.loads((entry.folder / "model_card.json").read_text())
    assert raw["training"]["class_offsets"] == [1, 2, 3]  # taken off before it is trained on

    (folder / "model_card.json").write_text('{"target_diameter_voxels": "many"}')
    with pytest.raises(ModelError, match="not a valid model card"):
        import_model(folder, ImportOptions(name="other"))


def test_a_hostile_plans_file_is_refused_and_not_run(tmp_path, data_folder):
    write_version_1(tmp_path / "download", *CUBIC, folds=1)
    plans = next((tmp_path / "download").rglob("plans.pkl"))
    plans.write_bytes(pickle.dumps({"plans_per_stage": Hostile(tmp_path / "ran")}))
    with pytest.raises(ModelError, match="could run code"):
        import_model(tmp_path / "download")
    assert not (tmp_path / "ran").exists()
    assert not list_models() or all(e.folder.parent != data_folder for e in list_models())


def test_a_hostile_version_1_checkpoint_is_refused_and_not_run(tmp_path):
    write_version_1(tmp_path / "download", *CUBIC, folds=1)
    checkpoint = next((tmp_path / "download").rglob("model_best.model"))
    torch.save({"state_dict": {}, "best_stuff": Hostile(tmp_path / "ran")}, checkpoint)
    with pytest.raises(ModelError, match="could run code"):
        import_model(tmp_path / "download")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("target", ["builtins.eval", "builtins.getattr", "numpy.load", "os.system"])
def test_a_pickle_may_only_name_plain_things(tmp_path, target):
    module, name = target.rsplit(".", 1)
    path = tmp_path / "plans.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(ModelError, match="could run code"):
        load_plain_pickle(path)


def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("../../plans.json", "{}")
    with pytest.raises(ModelError, match="outside"):
        import_model(archive)
    assert not (tmp_path.parent / "plans.json").exists()


def test_a_failed_import_leaves_nothing_behind(tmp_path, data_folder):
    write_version_1(tmp_path / "download", *CUBIC, folds=1)
    checkpoint = next((tmp_path / "download").rglob("model_best.model"))
    content = torch.load(checkpoint, weights_only=False)
    del content["state_dict"]["tu.1.weight"]
    torch.save(content, checkpoint)
    with pytest.raises(ModelError, match="do not fit"):
        import_model(tmp_path / "download")
    assert not data_folder.exists() or not list((data_folder / "models").iterdir())


@pytest.mark.parametrize("content", [b"", b"nothing like a ZIP"])
def test_a_file_that_is_no_model_is_told(tmp_path, content):
    path = tmp_path / "some.zip"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"some\.zip"):
        import_model(path)
