"""Going on from a model of any origin: its network, grey scale and particle size stay its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.models import ImportOptions, find_model, import_model, open_model
from particleseg_app.models.model_folder import load_network
from particleseg_app.models.model_import import PUBLISHED_MEAN, PUBLISHED_STD
from particleseg_app.training.base_model import base_model
from particleseg_app.training.lab_patches import read_lab_patch
from particleseg_app.training.lab_source import at_working_scale

from ..models.tiny_model import write_tiny_model
from .lab_patch_files import predict, tiny_plan, train, write_patch


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    for number in range(2):
        write_patch(tmp_path / "patches", f"patch{number}", seed=number)
    return tmp_path / "patches"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An imported model as the published one: nnU-Net version 1, two folds, fixed z-score."""
    pytest.importorskip("particleseg3d.utils.nnunet_utils")
    from ..models.test_model_import import CUBIC, write_version_1

    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    write_version_1(tmp_path / "download", *CUBIC)
    return import_model(
        tmp_path / "download", ImportOptions(name="published", target_diameter_voxels=13)
    ).folder


@pytest.mark.parametrize("recipe", ["compact", "paper"])
def test_the_published_model_is_trained_on_as_it_is(
    tmp_path: Path, patches: Path, published: Path, recipe: str
) -> None:
    plan = tiny_plan(patches, base=published, recipe=recipe, steps=2, features=None)
    tuned = train(plan, tmp_path)
    before, after = open_model(published), open_model(tuned)
    assert after.card.normalisation == before.card.normalisation
    assert (after.card.normalisation.mean, after.card.normalisation.std) == (
        PUBLISHED_MEAN, PUBLISHED_STD,
    )  # fmt: skip
    assert after.card.target_diameter_voxels == 13
    assert after.card.border_thickness_voxels == 3
    assert after.card.patch_shape == before.card.patch_shape
    assert "going on from the model “published”" in after.card.made_from
    (network,) = load_network(after)  # of the two folds one was trained on
    assert any(isinstance(layer, torch.nn.InstanceNorm3d) for layer in network.modules())
    old, new = predict(published), predict(tuned)
    assert not torch.equal(old, new)
    assert (old - new).abs().mean() < 0.05 * old.std()


def test_simulated_scans_suit_a_model_with_a_fixed_grey_scale(
    tmp_path: Path, published: Path
) -> None:
    plan = tiny_plan(
        None, base=published, steps=1, features=None, simulated=1, preset="spaced",
        scene_shape=(48, 48, 48),
    )  # fmt: skip
    assert open_model(train(plan, tmp_path)).card.figures["volumes"] == 1


def test_a_fixed_z_score_is_that_of_the_model(tmp_path: Path, patches: Path) -> None:
    entry = write_tiny_model(
        tmp_path / "m",
        card_changes={"normalisation": {"scheme": "fixed", "mean": 1000.0, "std": 500.0}},
    )
    patch = read_lab_patch(patches, "patch0")
    grey, labels = at_working_scale(patch, 13.0, entry.card.normalisation)
    assert np.allclose(grey, (patch.grey.astype(np.float32) - 1000) / 500)
    assert np.array_equal(labels, patch.labels)


def test_class_offsets_are_taken_off_before_the_training_and_come_back(
    tmp_path: Path, patches: Path
) -> None:
    entry = find_model("default")
    card = json.loads((entry.folder / "model_card.json").read_text(encoding="utf-8"))
    offsets = card["training"]["class_offsets"]
    base = base_model(entry)
    assert list(base.class_offsets) == offsets
    shipped = load_network(entry)[0].state_dict()
    last = [name for name in shipped if "seg_layers" in name and name.endswith("bias")][-1]
    assert torch.allclose(base.weights[last] + torch.tensor(offsets), shipped[last], atol=1e-6)

    entry = write_tiny_model(tmp_path / "m", card_changes={"training": {"class_offsets": "none"}})
    assert base_model(entry).class_offsets == (0.0, 0.0, 0.0)
    offset = write_tiny_model(
        tmp_path / "n", card_changes={"training": {"class_offsets": [0.5, -1, 0]}}
    )
    # Nothing is held back of two patches: the model keeps the offsets it came with.
    tuned = train(tiny_plan(patches, base=offset.folder, features=None, steps=1), tmp_path)
    card = json.loads((tuned / "model_card.json").read_text(encoding="utf-8"))
    assert card["training"]["class_offsets"] == [0.5, -1, 0]


@pytest.mark.parametrize("base_takes", [0.0, 3.5])
def test_simulated_scans_leave_the_base_its_sense_of_noise(
    tmp_path: Path, base_takes: float
) -> None:
    base = write_tiny_model(tmp_path / "m", card_changes={"least_contrast_to_noise": base_takes})
    plan = tiny_plan(
        None, base=base.folder, steps=1, features=None, target_diameter=None, simulated=1,
        preset="spaced", scene_shape=(48, 48, 48),
    )  # fmt: skip
    assert open_model(train(plan, tmp_path)).card.least_contrast_to_noise == base_takes
