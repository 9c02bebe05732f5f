"""Parts of one particle that the classes leave apart, united by the neck between them.

A voxel wrongly called core joins two particles, so the decision between core and border leans
towards border, and cuts some necks as well. Here the parts that grew from the cores are looked at
in pairs: how large their contact is for the lesser of the two, and how nearly core the network
found it. A contact between two particles is thin where it is nearly core; a neck is as wide there
as anywhere. What is counted adds up over blocks, so that the result does not depend on them.

What is a neck also depends on the material: fused grains touch seldom, and where they do, by necks;
packed ones touch everywhere. So every contact is judged beside all others of its scan.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import dataclass, replace
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
    """A logistic model in two steps that tells necks from contacts; fitted on runs of one model.

    The ln odds of a contact by itself: `features` less `centre`, over `spread`, and the products of
    any two of them have `weights`. Then it is seen among all contacts of the scan: its ln odds and
    their square have the first two of `scan_weights`, the `scan_features` (kept between `scan_low`
    and `scan_high`) the next, these times the ln odds the last. `usual_share` of the contacts of
    the fit were necks. Pairs whose probability is `least_probability` and more are united.
    The rule goes with classes of which only what is core by `core_factor` is core (`with_grades`).
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    usual_share: float
    scan_low: tuple[float, ...]
    scan_high: tuple[float, ...]
    scan_weights: tuple[float, ...]
    scan_intercept: float
    least_probability: float
    core_factor: int

    def __post_init__(self) -> None:
        rows = [getattr(self, name) for name in _ROWS]
        sizes = tuple(len(row) for row in rows)
        if sizes != ROW_SIZES:
            raise ValueError(f"it has {sizes} numbers")
        numbers = (*itertools.chain(*rows), self.intercept, self.scan_intercept)
        if not all(map(math.isfinite, numbers)) or min(self.spread) <= 0:
            raise ValueError("its numbers are none to compute with")
        if any(low > high for low, high in zip(self.scan_low, self.scan_high, strict=True)):
            raise ValueError("its limits are out of order")
        if not 0 < self.least_probability <= 1 or not 1 <= self.core_factor <= FACTORS[0]:
            raise ValueError("its limits are out of range")
        if not 0 < self.usual_share < 1:
            raise ValueError("its share is out of range")

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> UnionRule:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
        rows = {name: tuple(float(number) for number in raw[name]) for name in _ROWS}
        single = ("intercept", "usual_share", "scan_intercept", "least_probability")
        numbers = {name: float(raw[name]) for name in single}
        return UnionRule(**rows, **numbers, core_factor=int(raw["core_factor"]))  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    def fingerprint(self) -> str:
        """Two rules with the same one unite the same parts."""
        return hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()[:16]

    def by_itself(self, contacts: Contacts) -> np.ndarray:
        """Ln odds that the two parts of each pair are one particle, float64 (n,)."""
        terms = with_products((features(contacts) - self.centre) / self.spread)
        return np.clip(terms @ np.array(self.weights) + self.intercept, -50, 50)

    def scan_figures(self, contacts: Contacts, parts: int) -> np.ndarray | None:
        """What the `contacts` of all `parts` of a scan say of it, float64 (SCAN_FEATURE_COUNT,).

        None where there are no contacts.
        """
        if not len(contacts.pairs):
            return None
        figures = scan_features(self.by_itself(contacts), parts, self.usual_share)
        return np.clip(figures, self.scan_low, self.scan_high)

    def probabilities(self, contacts: Contacts, of_scan: np.ndarray | None) -> np.ndarray:
        """That the two parts of each pair are one particle, float64 (n,).

        `of_scan` are the `scan_figures` of the whole scan, of which these contacts may be a few.
        Where they are not known each is judged by itself.
        """
        score = self.by_itself(contacts)
        if of_scan is not None:
            of_scan = np.clip(of_scan, self.scan_low, self.scan_high)
            score = scan_terms(score, of_scan) @ np.array(self.scan_weights) + self.scan_intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))))

    def united(
        self, contacts: Contacts, label_count: int, of_scan: np.ndarray | None
    ) -> np.ndarray:
        """For the labels 0…`label_count` the least label of the particle each is part of.

        `of_scan` as for `probabilities`.
        """
        chosen = contacts.pairs[self.probabilities(contacts, of_scan) >= self.least_probability]
        groups, group = joined(label_count + 1, chosen)
        least = np.full(groups, label_count + 1, np.int64)
        np.minimum.at(least, group, np.arange(label_count + 1))
        return least[group]


FEATURE_COUNT = GRADES + 2
WEIGHT_COUNT = FEATURE_COUNT * (FEATURE_COUNT + 3) // 2
SCAN_FEATURE_COUNT = 5
SCAN_WEIGHT_COUNT = 2 + 2 * SCAN_FEATURE_COUNT
_ROWS = ("centre", "spread", "weights", "scan_low", "scan_high", "scan_weights")
ROW_SIZES = (
    FEATURE_COUNT,
    FEATURE_COUNT,
    WEIGHT_COUNT,
    SCAN_FEATURE_COUNT,
    SCAN_FEATURE_COUNT,
    SCAN_WEIGHT_COUNT,
)
# Contacts as usual that every scan is thought to have besides its own, where shares are taken.
_USUAL_CONTACTS = 10
RULE_NAME = "core_unions.json"
LEAST_PROBABILITY_IN_NOISE = 0.7


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


def each_contact_alone(rule: UnionRule) -> UnionRule:
    """The same rule, but blind to the other contacts of a scan, and stricter: for those that are
    denoised.

    Under strong noise most contacts are doubtful, as those of fused grains are, and a rule that
    sees them would join many particles (docs/noise.md).
    """
    return replace(
        rule,
        scan_weights=(1.0,) + (0.0,) * (len(rule.scan_weights) - 1),
        scan_intercept=0.0,
        least_probability=max(rule.least_probability, LEAST_PROBABILITY_IN_NOISE),
    )


def figures_of_scan(summary: dict[str, Any]) -> np.ndarray | None:
    """The rule's `scan_figures` that a run left in its summary; None where there are none."""
    figures = summary.get("contacts_of_scan")
    if not isinstance(figures, list) or len(figures) != SCAN_FEATURE_COUNT:
        return None
    if not all(isinstance(figure, float) and math.isfinite(figure) for figure in figures):
        return None
    return np.array(figures)


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


def scan_features(log_odds: np.ndarray, parts: int, usual_share: float) -> np.ndarray:
    """What all contacts of a scan say of it, float64 (SCAN_FEATURE_COUNT,).

    Logarithms of contacts per part and of the share of necks that `log_odds` make one expect; mean,
    standard deviation and ninth decile of `log_odds`, of which there is at least one.
    """
    count = log_odds.size
    expected = np.sum(1 / (1 + np.exp(-log_odds))) + _USUAL_CONTACTS * usual_share
    return np.array(
        [
            math.log((2 * count + 1) / (parts + 1)),
            math.log(expected / (count + _USUAL_CONTACTS)),
            log_odds.mean(),
            log_odds.std(),
            np.quantile(log_odds, 0.9),
        ]
    )


def scan_terms(log_odds: np.ndarray, of_scan: np.ndarray) -> np.ndarray:
    """What `UnionRule.scan_weights` weigh, (n, SCAN_WEIGHT_COUNT)."""
    same = np.broadcast_to(of_scan, (log_odds.size, of_scan.size))
    return np.column_stack([log_odds, log_odds**2, same, same * log_odds[:, None]])


def added(parts: list[tuple[np.ndarray, np.ndarray]], voxels: np.ndarray) -> Contacts:
    """The `pairs` and `faces` of blocks as those of the whole volume."""
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(pairs for pairs, _ in parts)])
    faces = np.concatenate([np.zeros((0, GRADES), np.int64), *(faces for _, faces in parts)])
    found, which = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_inverse=True)
    total = np.zeros((found.size, GRADES), np.int64)
    np.add.at(total, which, faces)
    return Contacts(np.stack([found >> 32, found & 0xFFFFFFFF], axis=1), total, voxels)
