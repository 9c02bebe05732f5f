"""Both recipes: the paper's settings are nnU-Net's own, and a killed training goes on as if not."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from particleseg_app.cli import main
from particleseg_app.errors import InvalidValueError, ModelError, RunError
from particleseg_app.models import open_model
from particleseg_app.models.model_card import read_small_json
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import (
    Trainer,
    TrainingPlan,
    model_training,
    nnunet_trainer,
    train_model,
)
from particleseg_app.training.network import published_architecture
from particleseg_app.training.nnunet_trainer import ParticleTrainer
from particleseg_app.training.recipes import COMPACT, PAPER, default_recipe, find_recipe
from particleseg_app.training.training_loop import CHECKPOINT
from particleseg_app.training.training_plan import begun_recipe

from .lab_patch_files import CopyAfter, predict, tiny_plan, train, write_patch

TINY_NETWORK = published_architecture((4, 8, 8))


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    for number in range(2):
        write_patch(tmp_path / "patches", f"patch{number}", seed=number)
    return tmp_path / "patches"


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints every two steps in both recipes."""
    monkeypatch.setattr(nnunet_trainer, "ITERATIONS", 2)
    monkeypatch.setattr(model_training, "CHECKPOINT_EVERY", 2)


def paper_plan(folder: Path | None, **changes: object) -> TrainingPlan:
    return tiny_plan(folder, recipe="paper", features=(4, 8, 8), **changes)


def test_the_papers_settings_are_the_defaults(tmp_path: Path) -> None:
    assert (PAPER.target_diameter, PAPER.border_thickness) == (60, 3)
    assert (PAPER.batch, PAPER.edge, PAPER.steps) == (2, 128, 1000 * 250)
    network = PAPER.network(PAPER.features)
    assert network["arch_kwargs"]["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert "InstanceNorm3d" in network["arch_kwargs"]["norm_op"]
    trainer = ParticleTrainer.begin(tmp_path, TINY_NETWORK, 3.0, 2, 16, device="cpu")
    (group,) = trainer.optimizer.param_groups
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 3e-5)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (1000, 250)
    rates = []
    for step in (0, 125_000, 249_999):
        trainer.step = step
        trainer.lr_scheduler.step(step // 250)
        rates.append(trainer.rate())
    assert rates == pytest.approx([1e-2, 1e-2 * 0.5**0.9, 1e-2 * 0.001**0.9])


def test_the_loss_of_nnunets_trainer_falls(tmp_path: Path) -> None:
    trainer = ParticleTrainer.begin(tmp_path, TINY_NETWORK, 3.0, 2, 16, 20, "cpu", seed=3)
    target = np.zeros((2, 16, 16, 16), np.uint8)
    target[:, 4:12, 4:12, 4:12] = 2
    target[:, 6:10, 6:10, 6:10] = 1
    grey = (target > 0).astype(np.float32)[:, None]
    losses = [trainer.learn(grey, target | 4) for _ in range(15)]
    assert losses[-1] < losses[0] - 0.1


def test_the_papers_recipe_makes_a_model_that_segments(tmp_path: Path, patches: Path) -> None:
    model = train(paper_plan(patches, steps=3), tmp_path)
    card = open_model(model).card
    assert "paper recipe" in card.made_from
    # The z-score of 000 §3.2.1 over all voxels of the training patches.
    assert card.normalisation.scheme == "fixed"
    assert 2000 < card.normalisation.mean < 4000
    assert card.border_thickness_voxels == 3
    log = (tmp_path / "work" / "log.txt").read_text(encoding="utf-8")
    assert "step 3  loss" in log
    assert (tmp_path / "work" / "loss.svg").exists()
    assert main(["segment", str(patches / "patch0_image.tif"), "--voxel-size-um", "10",
                 "--particle-diameter-um", "130", "--model", str(model), "--preset", "fast",
                 "--device", "cpu", "--out", str(tmp_path / "project")]) == 0  # fmt: skip


@pytest.mark.usefixtures("short_epochs")
@pytest.mark.parametrize("recipe", ["paper", "compact"])
def test_a_killed_training_ends_like_one_that_was_not(
    tmp_path: Path, patches: Path, recipe: str
) -> None:
    plan = tiny_plan(
        patches, recipe=recipe, features=(4, 8, 8), steps=5, simulated=2, preset="touching",
        scene_shape=(32, 32, 32), held_back=0.0,
    )  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killed.mkdir()
    # A check for each patch, scan and step, so that at least three steps are done by then.
    kill = CopyAfter(9, whole / "work", killed / "work")
    finished = train(plan, whole, kill)
    left = torch.load(killed / "work" / CHECKPOINT, weights_only=True)
    assert 2 <= left["step"] < 5
    resumed = train(plan, killed)
    assert torch.equal(predict(finished), predict(resumed))
    lines = (killed / "work" / "loss.csv").read_text(encoding="utf-8").splitlines()
    assert lines[-1].startswith("5,")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    ParticleTrainer.begin(tmp_path, TINY_NETWORK, 3.0, 2, 16, 4, "cpu").save()
    with pytest.raises(ModelError):
        ParticleTrainer.begin(tmp_path, published_architecture((4, 8)), 3.0, 2, 16, 4, "cpu")
    (tmp_path / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(ModelError):
        ParticleTrainer.begin(tmp_path, TINY_NETWORK, 3.0, 2, 16, 4, "cpu")


def test_recipe_by_device_and_by_what_was_begun(tmp_path: Path) -> None:
    assert default_recipe("cuda:1", fine_tuning=False) == (PAPER, "")
    recipe, why = default_recipe("cpu", fine_tuning=False)
    assert recipe is COMPACT
    assert "months" in why
    assert default_recipe("cuda:0", fine_tuning=True)[0] is COMPACT
    with pytest.raises(InvalidValueError, match="no recipe"):
        find_recipe("secret")
    assert begun_recipe(tmp_path) is None
    (tmp_path / "plan.json").write_text('{"recipe": "paper"}')
    assert begun_recipe(tmp_path) is PAPER


def test_the_papers_recipe_goes_by_steps(tmp_path: Path, patches: Path) -> None:
    with pytest.raises(InvalidValueError, match="by steps, not by minutes"):
        train(paper_plan(patches, steps=None, minutes=5.0), tmp_path)
    assert paper_plan(patches, steps=None).length(PAPER) == (250_000, None)
    assert tiny_plan(patches, steps=None).length(COMPACT) == (None, 60.0)


def test_command_says_which_recipe_it_uses(
    tmp_path: Path, patches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "--patches", str(patches), "--edge", "32", "--batch", "1", "--steps", "1",
              "--device", "cpu"]  # fmt: skip
    assert main([*common, "--out", str(tmp_path / "a")]) == 0
    assert "months without a graphics card" in capsys.readouterr().err
    plan = tmp_path / "a_training" / "plan.json"
    assert read_small_json(plan)["recipe"] == "compact"
    # Going on keeps to what was begun, without a word about recipes.
    assert main([*common, "--out", str(tmp_path / "a")]) == 0
    assert "recipe is used" not in capsys.readouterr().err
    assert main([*common, "--out", str(tmp_path / "a"), "--recipe", "paper", "--edge", "64"]) == 1
    assert "other settings (--recipe, --edge)" in capsys.readouterr().err
    assert main([*common, "--out", str(tmp_path / "b"), "--recipe", "other"]) == 1
    assert "Choose one of: paper, compact" in capsys.readouterr().err


@pytest.mark.parametrize(("recipe", "trainer"), [("paper", ParticleTrainer), ("compact", Trainer)])
def test_a_card_that_is_too_small_is_explained_and_may_be_helped(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, trainer: type
) -> None:
    def too_large(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    plan = tiny_plan(patches, recipe=recipe, features=(4, 8, 8), steps=1, batch=2)
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "learn", too_large)
        with pytest.raises(RunError, match="2 patches of 16 voxels an edge do not fit"):
            train(plan, tmp_path)
    assert predict(train(replace(plan, batch=1), tmp_path)).isfinite().all()


def test_a_full_disk_is_told_in_a_sentence_and_costs_no_checkpoint(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(patches, steps=3)
    monkeypatch.setattr(model_training, "CHECKPOINT_EVERY", 1)
    saved = torch.save

    def full(state: dict[str, object], file: object) -> None:
        if state.get("step") == 2:
            Path(str(file)).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(state, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(RunError, match="no space left on the disk"):
            train(plan, tmp_path)
    left = torch.load(tmp_path / "work" / CHECKPOINT, weights_only=True)
    assert left["step"] == 1
    assert predict(train(plan, tmp_path)).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", ["paper", "compact"])
def test_both_recipes_train_on_a_graphics_card(tmp_path: Path, patches: Path, recipe: str) -> None:
    plan = tiny_plan(patches, recipe=recipe, features=(4, 8, 8), steps=3)
    train_model(plan, tmp_path / "m", tmp_path / "w", "cuda:0", Progress(), CancelToken())
    assert predict(tmp_path / "m").isfinite().all()
    more = replace(plan, base=tmp_path / "m")
    train_model(more, tmp_path / "n", tmp_path / "v", "cuda:0", Progress(), CancelToken())
    assert json.loads((tmp_path / "n" / "model_card.json").read_text())["training"]["steps"] == 3
