"""What the user asks of a run, checked; stored as `settings.json` in the run's folder."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from particleseg_app.errors import InvalidValueError, NewRunError
from particleseg_app.units import Shape, check_diameter_fits, diameter_in_voxels

METHODS = ("nnunet", "threshwater")
PRESETS = ("fast", "standard", "best")
# See models.inference: "auto" takes the engine that is fastest on the processor.
INFERENCE = ("auto", "openvino", "torch")


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run. Lengths in µm; ThreshWater's radii in voxels of the scan.

    `threshold` is ThreshWater's grey value, None for Otsu's. `min_relative_volume` is the share
    of the mean particle volume below which a particle is dropped (001, relative size filter).
    `skip_background` passes the network by tiles that are certainly background (see
    `background`); `inference` names what computes the network on the processor.
    `denoise` takes the noise off a scan that is noisier than the model is used to (see
    `denoised_scan`), evens out slices of uneven brightness (`even_slices`) and takes off ring
    artefacts (`rings`).
    `leave_out_containers` drops what is part of the sample tube (see `containers`).
    """

    voxel_size_um: float
    particle_diameter_um: float
    method: str = "nnunet"
    model: str = "default"
    preset: str = "standard"
    device: str = "auto"
    threshold: float | None = None
    opening_radius: int = 1
    erosion_radius: int = 2
    min_relative_volume: float = 0.005
    skip_background: bool = True
    inference: str = "auto"
    denoise: bool = True
    leave_out_containers: bool = True

    def check(self) -> None:
        """Raise `InvalidValueError` for the first answer that is not possible."""
        diameter_in_voxels(self.particle_diameter_um, self.voxel_size_um)
        _check_choice("method", self.method, METHODS)
        _check_choice("preset", self.preset, PRESETS)
        _check_choice("inference", self.inference, INFERENCE)
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InvalidValueError("The threshold must be a number.", "Enter a grey value.")
        for name, radius in (("opening", self.opening_radius), ("erosion", self.erosion_radius)):
            if not 0 <= radius <= 50:
                raise InvalidValueError(
                    f"An {name} radius of {radius} voxels is not possible.",
                    "Enter a radius between 0 and 50.",
                )
        if not 0 <= self.min_relative_volume < 1:
            raise InvalidValueError(
                f"A smallest relative volume of {self.min_relative_volume:g} is not possible.",
                "Enter a share between 0 and 1.",
            )

    def check_for(self, shape: Shape) -> None:
        """`check`, and that an average particle fits a scan of this shape (z, y, x)."""
        self.check()
        diameter = diameter_in_voxels(self.particle_diameter_um, self.voxel_size_um)
        check_diameter_fits(diameter, shape)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> RunSettings:
        """Settings from JSON.

        Raises `NewRunError` when something is missing or of another type, `InvalidValueError` for
        values that are not possible.
        """
        known = {field.name for field in fields(RunSettings)}
        try:
            settings = RunSettings(**{key: value for key, value in raw.items() if key in known})
            if not all(isinstance(text, str) for text in (settings.model, settings.device)):
                raise TypeError("a name is no text")
            settings.check()
        except (TypeError, AttributeError, OverflowError) as error:
            raise NewRunError(
                f"The run's settings are damaged ({error}).", "Start a new run."
            ) from error
        return settings

    def same_result(self, other: RunSettings) -> bool:
        """Whether both lead to the same particles: the device alone may differ."""
        return {**self.as_dict(), "device": ""} == {**other.as_dict(), "device": ""}


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidValueError(
            f"There is no {what} “{value}”.", f"Choose one of: {', '.join(choices)}."
        )
