"""Model files that are broken or meant to do harm: refused at once, in a sentence, without cost."""

import json
import os
import pickle
import shutil
import time
import zipfile

import pytest
import torch

from particleseg_app.errors import ModelError
from particleseg_app.models import list_models, model_import
from particleseg_app.models.model_folder import load_network, open_model
from particleseg_app.models.model_import import ImportOptions, import_model
from particleseg_app.models.nnunet_v1 import network_description
from particleseg_app.models.safe_loading import load_plain_pickle

from .tiny_model import write_tiny_model

WEIGHT = "encoder.stages.0.0.convs.0.conv.weight"


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def foreign(tmp_path):
    """An nnU-Net version 2 folder, as it comes from elsewhere: without a card."""
    folder = write_tiny_model(tmp_path / "foreign", folds=2).folder
    (folder / "model_card.json").unlink()
    return folder


def refusal(path, **options):
    """Why an import is refused; it must leave nothing behind and name no file of its own."""
    with pytest.raises(ModelError) as caught:
        import_model(path, ImportOptions(**options))
    assert not [entry for entry in list_models() if entry.name == path.stem]
    root = model_import.user_model_root()
    assert not root.exists() or not list(root.iterdir())
    text = str(caught.value)
    assert ".part-" not in text
    assert "particleseg-model-" not in text
    return text


def change_plans(folder, **changes):
    path = folder / "plans.json"
    plans = json.loads(path.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    kwargs = configuration["architecture"]["arch_kwargs"]
    for key, value in changes.items():
        (configuration if key == "patch_size" else kwargs)[key] = value
    path.write_text(json.dumps(plans))


def change_weight(folder, value):
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    content["network_weights"][WEIGHT] = value
    torch.save(content, path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_conv_per_stage": [10_000_000] * 2}, "too large"),
        ({"kernel_sizes": [[999] * 3] * 2}, "too large"),
        ({"strides": [[1, 1, 1], [10**6] * 3]}, "too large"),
        ({"features_per_stage": [1024] * 2, "kernel_sizes": [[15] * 3] * 2}, "too large"),
        ({"stem_channels": 10**9}, "too large"),
        ({"strides": [[1, 1, 1], [0, 0, 0]]}, "not possible"),
        ({"strides": [[1, 1], [2, 2]]}, "not three axes"),
        ({"kernel_sizes": "many"}, "does not describe"),
        ({"kernel_sizes": [[3, 3, 3]]}, "not possible"),
        ({"nonlin": "os.system"}, "not known (os.system)"),
        ({"nonlin_kwargs": {"negative_slope": "x"}}, "does not work"),
        ({"patch_size": [32, 32]}, "32 × 32 voxels"),
        ({"patch_size": [10**9] * 3}, "not possible"),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_it_is_built(foreign, changes, said):
    change_plans(foreign, **changes)
    began = time.monotonic()
    text = refusal(foreign)
    assert time.monotonic() - began < 10
    assert said in text
    assert str(foreign) in text


@pytest.mark.parametrize("options", [[], {"a": 1}])
def test_network_arguments_of_another_kind_are_refused(foreign, options):
    path = foreign / "plans.json"
    plans = json.loads(path.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] = options
    path.write_text(json.dumps(plans))
    assert "does not describe a 3D network" in refusal(foreign)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        # One stored number that claims to be 4 TB (in half precision, so that it must be copied).
        (torch.zeros(1, dtype=torch.half).expand(10**6, 10**6, 1), "not stored as plain numbers"),
        (torch.zeros(4, 1, 3, 3, 3, dtype=torch.complex64), "not stored as plain numbers"),
        (torch.zeros(4, 1, 3, 3, 3).to_sparse(), "not stored as plain numbers"),
        (torch.full((4, 1, 3, 3, 3), float("nan")), "no numbers"),
        (5, "holds no network"),
    ],
)
def test_weights_that_are_not_plain_numbers_are_refused(foreign, weight, said):
    change_weight(foreign, weight)
    text = refusal(foreign)
    assert said in text
    assert str(foreign / "fold_0" / "checkpoint_final.pth") in text


def test_a_folder_given_to_a_run_is_held_to_the_same(tmp_path):
    entry = write_tiny_model(tmp_path / "mine")
    change_weight(entry.folder, torch.zeros(1).expand(10**6, 10**6, 1, 1, 1))
    with pytest.raises(ModelError, match="not stored as plain numbers"):
        load_network(open_model(entry.folder))


def test_a_fold_without_weights_is_told_and_not_left_out_silently(foreign):
    (foreign / "fold_1" / "checkpoint_final.pth").unlink()
    assert "fold_1 holds no weights" in refusal(foreign)


class Hostile:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def test_what_a_hostile_checkpoint_asks_for_is_named(foreign, tmp_path, recwarn):
    proof = tmp_path / "proof"
    torch.save({"network_weights": Hostile(proof)}, foreign / "fold_0" / "checkpoint_final.pth")
    text = refusal(foreign)
    assert f"holds more than numbers ({os.system.__module__}.system)" in text
    assert "PyTorch" not in text
    assert not proof.exists()
    assert not recwarn


def test_a_file_of_a_zip_is_named_by_the_zip(foreign, tmp_path):
    torch.save({"network_weights": 1}, foreign / "fold_0" / "checkpoint_final.pth")
    archive = zipped(foreign, tmp_path / "download.zip")
    assert f"{archive}/fold_0/checkpoint_final.pth holds no network" in refusal(archive)


def zipped(folder, archive, **options):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, **options) as content:
        for path in folder.rglob("*"):
            content.write(path, path.relative_to(folder))
    return archive


def test_a_zip_that_would_fill_the_disk_is_not_unpacked(foreign, tmp_path):
    archive = zipped(foreign, tmp_path / "bomb.zip")
    with (
        zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as content,
        content.open("fold_2/checkpoint_final.pth", "w", force_zip64=True) as member,
    ):
        for _ in range(40):
            member.write(bytes(2**20))
    text = refusal(archive)
    assert "-fold when it is unpacked" in text
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as content:
        content.writestr("debug.json", b" " * (5 * 2**20))
    assert refusal(archive)


def test_a_large_text_in_a_zip_is_not_unpacked(foreign, tmp_path):
    (foreign / "dataset.json").write_bytes(b" " * (5 * 2**20))
    text = refusal(zipped(foreign, tmp_path / "text.zip"))
    assert "dataset.json" in text
    assert "too large" in text


def test_a_damaged_zip_and_a_full_disk_are_told_apart(foreign, tmp_path, monkeypatch):
    archive = zipped(foreign, tmp_path / "download.zip")
    content = bytearray(archive.read_bytes())
    place = content.index(b"fold_0/checkpoint_final.pth") + 400
    content[place : place + 200] = bytes(200)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content)
    assert "cannot be read as a ZIP file" in refusal(damaged)

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage._replace(free=1000))
    assert "no space to unpack the model" in refusal(archive)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"grey_mean": 100.0}, "belong together"),
        ({"grey_std": 100.0}, "belong together"),
        ({"grey_mean": 0.0, "grey_std": 0.0}, "not possible"),
        ({"grey_mean": float("nan"), "grey_std": 1.0}, "not possible"),
        ({"target_diameter_voxels": 0.0}, "diameter of 0 voxels"),
        ({"target_diameter_voxels": float("nan")}, "diameter of nan voxels"),
        ({"border_thickness_voxels": 100.0}, "thickness of 100 voxels"),
    ],
)
def test_impossible_options_are_told_and_never_ignored(foreign, options, said):
    assert said in refusal(foreign, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {"conv_per_stage": "100000000"},
        {"conv_per_stage": "0"},
        {"net_conv_kernel_sizes": "[[3,3,3],[3,3]]"},
        {"net_conv_kernel_sizes": "[[9999,9999,9999],[3,3,3]]"},
        {"net_conv_kernel_sizes": '["abc",[3,3,3]]'},
        {"net_num_pool_op_kernel_sizes": "5"},
        {"net_num_pool_op_kernel_sizes": "[[2,2]]"},
        {"net_num_pool_op_kernel_sizes": "[" * 100_000},
    ],
)
def test_a_version_1_network_that_cannot_be_is_refused(tmp_path, changes):
    debug = {
        "net_num_pool_op_kernel_sizes": "[[2,2,2]]",
        "net_conv_kernel_sizes": "[[3,3,3],[3,3,3]]",
        "base_num_features": "4",
        "num_classes": "3",
        "num_input_channels": "1",
        "conv_per_stage": "2",
    }
    fold = tmp_path / "fold_0"
    fold.mkdir()
    (fold / "debug.json").write_text(json.dumps(debug))
    assert network_description(fold)["arch_kwargs"]["n_stages"] == 2
    (fold / "debug.json").write_text(json.dumps(debug | changes))
    with pytest.raises(ModelError, match=r"debug\.json"):
        network_description(fold)


def test_what_a_killed_import_left_goes_with_the_next_one(foreign, data_folder):
    old, new = (data_folder / "models" / f".part-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"1")
    os.utime(old, (0, 0))
    import_model(foreign)
    assert not old.exists()
    assert new.exists()  # perhaps of an import that is going on


def test_a_pickle_by_a_later_protocol_is_told_without_a_warning(foreign, recwarn):
    path = foreign / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(pickle.dumps({"network_weights": {}}, protocol=5))
    assert str(path) in refusal(foreign)
    assert not recwarn


def test_a_short_pickle_cannot_ask_for_much_memory(tmp_path):
    # list(bytes(10⁹)), in 40 bytes.
    text = b"cbuiltins\nlist\n(cbuiltins\nbytes\n(I1000000000\ntRtR."
    path = tmp_path / "plans.pkl"
    path.write_bytes(text)
    with pytest.raises(ModelError, match="more than numbers"):
        load_plain_pickle(path)


def test_a_checkpoint_that_is_compressed_is_refused(foreign):
    path = foreign / "fold_0" / "checkpoint_final.pth"
    with zipfile.ZipFile(path) as plain:
        members = {info.filename: plain.read(info) for info in plain.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    assert "compressed" in refusal(foreign)


def test_lists_nested_without_end_are_refused(foreign):
    deep = 1
    for _ in range(300):
        deep = [deep]
    change_plans(foreign, more_of_it=deep)
    assert refusal(foreign)
