"""What a training is asked for, and the folder in which it is begun or gone on with."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import make_output_folder, write_json
from particleseg_app.errors import InvalidValueError
from particleseg_app.models import ModelEntry
from particleseg_app.training.recipes import COMPACT, Recipe, find_recipe
from particleseg_app.training.training_loop import CHECKPOINT
from particleseg_app.units import Shape

PLAN = "plan.json"
MODEL = "model"  # in it: the folder that the model goes into
SEEDS_APART = 20_000  # between two seeds of a training, so that no scan is made twice

# What the settings of a plan are called where the user gives them.
_OPTIONS = {
    "patch_names": "other patches in the folder",
    "patches": "the folder of patches",
    "base": "--from, or the model has changed",
    "simulated_share": "--simulated-share",
    "held_back": "--held-back",
    **{key: f"--{key}" for key in ("simulated", "preset", "recipe", "steps", "minutes")},
    **{key: f"--{key}" for key in ("touching", "batch", "edge", "seed")},
}


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, from what and for how long; lengths in voxels at the working scale.

    None leaves the choice to the recipe.
    """

    patches: Path | None = None  # folder of labelled patches
    simulated: int = 0  # how many simulated scans
    simulated_share: float = 0.5  # of the training patches, where there are both
    preset: str = "varied"
    scene_shape: Shape = (128, 128, 128)
    held_back: float = 0.2  # share of patches and scans kept for validation
    base: Path | None = None  # model folder to go on from
    recipe: str = COMPACT.name
    steps: int | None = None  # at most one of steps and minutes
    minutes: float | None = None
    touching: float = 0.5  # chance of the touching-particle augmentation in labelled patches
    batch: int | None = None
    edge: int | None = None
    features: tuple[int, ...] | None = None  # of a new network
    target_diameter: float | None = None  # of a new network
    border_thickness: float | None = None  # of a new network
    seed: int = 1

    def check(self) -> Recipe:
        """The recipe; raises `InvalidValueError` for a plan that cannot be carried out."""
        recipe = find_recipe(self.recipe)
        if self.patches is None and self.simulated <= 0:
            raise InvalidValueError(
                "There is nothing to train on.",
                "Give a folder of patches, simulated scans or both.",
            )
        if self.steps is not None and self.minutes is not None:
            raise InvalidValueError(
                "The length of the training is not clear.", "Give either steps or minutes."
            )
        if self.minutes is not None and recipe.minutes is None:
            raise InvalidValueError(
                f"The learning rate of the recipe “{recipe.name}” goes by steps, not by minutes.",
                "Give the number of steps, or choose the compact recipe.",
            )
        for value in (self.steps, self.minutes):
            if value is not None and not 0 < value < math.inf:
                raise InvalidValueError(
                    f"A training of {value:g} steps or minutes is not possible.",
                    "Give a number above 0.",
                )
        if self.simulated > SEEDS_APART // 2:
            raise InvalidValueError(
                f"{self.simulated} simulated scans are too many.",
                f"Ask for at most {SEEDS_APART // 2}.",
            )
        shares = (
            ("simulated", self.simulated_share),
            ("touching", self.touching),
            ("held back", self.held_back),
        )
        for name, share in shares:
            if not 0 <= share <= 1:
                raise InvalidValueError(
                    f"A share of {share:g} ({name}) is not possible.", "Give 0 to 1."
                )
        return recipe

    def length(self, recipe: Recipe) -> tuple[int | None, float | None]:
        """Steps and minutes, one of them None."""
        if self.steps is None and self.minutes is None:
            return recipe.steps, recipe.minutes
        return self.steps, self.minutes


def begun_recipe(work: Path) -> Recipe | None:
    """The recipe of the training in `work`, so that going on elsewhere keeps to it."""
    try:
        return find_recipe(json.loads((work / PLAN).read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError, InvalidValueError):
        return None


def begin_or_resume(
    plan: TrainingPlan, base: ModelEntry | None, patch_names: list[str], out: Path, work: Path
) -> bool:
    """Write the plan into a new work folder, or make sure that it is the plan begun there.

    Returns whether it was begun now. The model of this training may be in `out` already; anything
    else in it is refused.

    `patch_names`: the patches to train on; with others, those that were held back would differ.
    """
    wanted: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=str))
    if plan.patches is not None:
        wanted["patches"] = str(plan.patches.resolve())
    wanted["patch_names"] = patch_names
    wanted["base"] = None if base is None else base.fingerprint()
    model = str(out.resolve())
    path = work / PLAN
    begun_before = path.exists()
    goes_on, begun_for = begun_before and (work / CHECKPOINT).exists(), None
    if goes_on:
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
            other = [key for key in wanted if begun[key] != wanted[key]]
            begun_for = begun.get(MODEL)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidValueError(f"{path} cannot be read.", "Choose a new folder.") from error
        if other:
            named = ", ".join(_OPTIONS.get(key, key.replace("_", " ")) for key in other)
            raise InvalidValueError(
                f"The training in {work} was begun with other settings ({named}).",
                "Give the same ones to go on with it, or choose a new folder.",
            )
    if begun_for != model:
        _check_empty(out)
    if not begun_before:
        _check_empty(work)
    for folder in (out.parent, work):
        make_output_folder(folder)
    if begun_for != model:
        write_json(path, {**wanted, MODEL: model})
    return not begun_before


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidValueError(f"{folder} is not an empty folder.", "Choose a new one.")
