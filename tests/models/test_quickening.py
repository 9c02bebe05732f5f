"""A change that is to make a network quicker: kept where it says the same, else taken back."""

import logging

import pytest
import torch

from particleseg_app.errors import Cancelled
from particleseg_app.models.quickening import quicken

TILE = torch.arange(1.0, 5.0)


class Scaled:
    """Stands for a change: multiplies the weight, and fails half-way where that is asked for."""

    if_other, if_failed = "It says something else.", "It cannot be made"

    def __init__(
        self,
        layer: torch.nn.Linear,
        factor: float,
        precision: torch.dtype = torch.float32,
        error: Exception | None = None,
    ) -> None:
        self.layer, self.factor, self.precision, self.error = layer, factor, precision, error
        self.before = layer.weight

    def possible(self) -> bool:
        return self.layer.out_features > 1

    def make(self) -> None:
        self.layer.weight = torch.nn.Parameter(self.before * self.factor)
        if self.error is not None:
            raise self.error

    def take_back(self) -> None:
        self.layer.weight = self.before


@pytest.fixture
def layer() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(4, 3)


def say(layer: torch.nn.Linear) -> torch.Tensor:
    return layer(TILE).detach()


@pytest.mark.parametrize(("precision", "factor"), [(torch.float32, 1), (torch.bfloat16, 1.001)])
def test_a_change_within_rounding_stays(layer, precision, factor):
    change = Scaled(layer, factor, precision)
    assert quicken(change, lambda: say(layer))
    assert layer.weight is not change.before


@pytest.mark.parametrize(
    ("factor", "error", "told"),
    [
        (1.001, None, "It says something else."),
        (torch.nan, None, "It says something else."),
        (2, OSError("no compiler"), "It cannot be made (no compiler)."),
    ],
)
def test_a_change_that_does_harm_is_taken_back_and_told(layer, factor, error, told, caplog):
    change = Scaled(layer, factor, error=error)
    with caplog.at_level(logging.INFO):
        assert not quicken(change, lambda: say(layer))
    assert layer.weight is change.before
    assert [record.getMessage() for record in caplog.records] == [told]


def test_where_nothing_can_be_changed_the_network_is_not_asked():
    def answer() -> torch.Tensor:
        raise AssertionError("there is nothing to compare")

    change = Scaled(torch.nn.Linear(4, 1), 1)
    assert not quicken(change, answer)
    assert change.layer.weight is change.before


@pytest.mark.parametrize("asked", [1, 2])
def test_cancelling_is_not_taken_for_a_failure(layer, asked):
    answers = []

    def answer() -> torch.Tensor:
        answers.append(say(layer))
        if len(answers) == asked:
            raise Cancelled
        return answers[-1]

    with pytest.raises(Cancelled):
        quicken(Scaled(layer, 1), answer)
    assert len(answers) == asked
