"""Parts of one particle that the classes leave apart, united by the neck between them.

A voxel wrongly called core joins two particles, so the decision between core and border leans
towards border, and cuts some necks as well. Here the parts that grew from the cores are looked at
in pairs: how large their contact is for the lesser of the two, and how nearly core the network
found it. A contact between two particles is thin where it is nearly core; a neck is as wide there
as anywhere. What is counted adds up over blocks, so that the result does not depend on them.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.errors import ModelError
from particleseg_app.models import ModelEntry
from particleseg_app.models.model_card import read_small_json
from particleseg_app.segmentation.block_work import joined
from particleseg_app.segmentation.border_core import BORDER, CORE

if TYPE_CHECKING:
    import torch

# A border voxel is nearly core, in grades 1…5, where the share of core times the factor is larger
# than that of border.
FACTORS = (400, 55, 20, 7, 3)
GRADES = len(FACTORS) + 1  # the last one is that of core, too; 0 is plain border


def with_grades(classes: torch.Tensor, total: torch.Tensor, core_factor: int) -> torch.Tensor:
    """Classes (uint8) whose border voxels are 2 + their grade, by the whole sums of the classes.

    Core whose sum is not larger than `core_factor` times any other becomes border of the last
    grade: with 1 all of it stays. What is foreground stays foreground.
    """
    import torch

    background, core, border = total
    ratio = torch.maximum(background, border).float().div_(core.float())
    limits = torch.tensor(sorted(FACTORS), dtype=torch.float32, device=total.device)
    below = torch.bucketize(ratio, limits, right=True, out_int32=True).to(torch.uint8)
    classes = torch.where(classes == BORDER, BORDER + GRADES - 1 - below, classes)
    if core_factor > 1:
        classes[(classes == CORE) & (ratio >= 1 / core_factor)] = BORDER + GRADES - 1
    return classes


@dataclass(frozen=True)
class Contacts:
    """Which parts touch, and how: `pairs` (n, 2) labels in rising order; `faces` (n, GRADES) how
    many pairs of 6-neighbours there are whose lesser grade is this one; `voxels` of each label.
    """

    pairs: np.ndarray
    faces: np.ndarray
    voxels: np.ndarray


@dataclass(frozen=True)
class UnionRule:
    """A quadratic logistic model that tells necks from contacts; fitted on runs of one model.

    `features` less `centre`, over `spread`, and the products of any two of them have `weights`;
    pairs whose probability is `least_probability` and more are united. It goes with classes of
    which only what is core by `core_factor` is core (`with_grades`).
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    least_probability: float
    core_factor: int

    def __post_init__(self) -> None:
        numbers = (*self.centre, *self.spread, *self.weights, self.intercept)
        sizes = (len(self.centre), len(self.spread), len(self.weights))
        if sizes != (FEATURE_COUNT, FEATURE_COUNT, WEIGHT_COUNT):
            raise ValueError(f"it has {sizes} numbers")
        if not all(map(math.isfinite, numbers)) or min(self.spread) <= 0:
            raise ValueError("its numbers are none to compute with")
        if not 0 < self.least_probability <= 1 or not 1 <= self.core_factor <= FACTORS[0]:
            raise ValueError("its limits are out of range")

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> UnionRule:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
        rows = ([float(number) for number in raw[name]] for name in ("centre", "spread", "weights"))
        centre, spread, weights = map(tuple, rows)
        return UnionRule(
            centre,
            spread,
            weights,
            float(raw["intercept"]),
            float(raw["least_probability"]),
            int(raw["core_factor"]),
        )

    def as_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    def fingerprint(self) -> str:
        """Two rules with the same one unite the same parts."""
        return hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()[:16]

    def probabilities(self, contacts: Contacts) -> np.ndarray:
        """That the two parts of each pair are one particle, float64 (n,)."""
        terms = with_products((features(contacts) - self.centre) / self.spread)
        score = terms @ np.array(self.weights) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))))

    def united(self, contacts: Contacts, label_count: int) -> np.ndarray:
        """For the labels 0…`label_count` the least label of the particle each is part of."""
        chosen = contacts.pairs[self.probabilities(contacts) >= self.least_probability]
        groups, group = joined(label_count + 1, chosen)
        least = np.full(groups, label_count + 1, np.int64)
        np.minimum.at(least, group, np.arange(label_count + 1))
        return least[group]


FEATURE_COUNT = GRADES + 2
WEIGHT_COUNT = FEATURE_COUNT * (FEATURE_COUNT + 3) // 2
RULE_NAME = "core_unions.json"


def union_rule_of(entry: ModelEntry) -> UnionRule | None:
    """The rule that lies in a model's folder, None where there is none; raises `ModelError`."""
    path = entry.folder / RULE_NAME
    if not path.exists():
        return None
    try:
        return UnionRule.from_dict(read_small_json(path))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{path} does not say when parts are united ({error}).", "Copy the model anew."
        ) from error


def features(contacts: Contacts) -> np.ndarray:
    """What the rule looks at, (n, FEATURE_COUNT): logarithms of areas, size and ratio of sizes.

    Areas, of all faces and of those of each grade and above, count in units of the lesser part's
    volume to the power of two thirds.
    """
    sizes = contacts.voxels[contacts.pairs].astype(float)
    lesser, greater = sizes.min(axis=1, initial=np.inf), sizes.max(axis=1, initial=1.0)
    lesser = np.maximum(lesser, 1.0)
    at_least = np.cumsum(contacts.faces[:, ::-1], axis=1)[:, ::-1]
    unit = lesser[:, None] ** (2 / 3)
    return np.column_stack(
        [np.log((at_least + 1.0) / unit), np.log(lesser), np.log(lesser / greater)]
    )


def with_products(values: np.ndarray) -> np.ndarray:
    """The columns of `values`, then the products of any two of them, squares included."""
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], axis=1)


def added(parts: list[tuple[np.ndarray, np.ndarray]], voxels: np.ndarray) -> Contacts:
    """The `pairs` and `faces` of blocks as those of the whole volume."""
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(pairs for pairs, _ in parts)])
    faces = np.concatenate([np.zeros((0, GRADES), np.int64), *(faces for _, faces in parts)])
    found, which = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_inverse=True)
    total = np.zeros((found.size, GRADES), np.int64)
    np.add.at(total, which, faces)
    return Contacts(np.stack([found >> 32, found & 0xFFFFFFFF], axis=1), total, voxels)
