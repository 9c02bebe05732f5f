"""The processors and graphics cards a network can run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from particleseg_app.cores import usable_cores
from particleseg_app.errors import InvalidValueError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """`id` as torch names it, a title for people, and its free memory in bytes."""

    id: str
    title: str
    memory_bytes: int


def available_devices() -> list[Device]:
    """Every graphics card torch can use, best first, then the processor."""
    import psutil
    import torch

    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            devices.append(Device(f"cuda:{index}", f"{name} ({total / 1e9:.0f} GB)", free))
        devices.sort(key=lambda device: -device.memory_bytes)
    memory = psutil.virtual_memory()
    cores = usable_cores()
    devices.append(
        Device("cpu", f"Processor ({cores} cores, {memory.total / 1e9:.0f} GB)", memory.available)
    )
    return devices


def choose_device(wanted: str) -> Device:
    """The device of that id, or the best one for "auto"; `InvalidValueError` if it is not here."""
    devices = available_devices()
    if wanted == "auto":
        return devices[0]
    for device in devices:
        if wanted in (device.id, device.id.split(":")[0]):
            return device
    known = ", ".join(device.id for device in devices)
    raise InvalidValueError(
        f"This computer has no device “{wanted}”.", f"Choose one of: auto, {known}."
    )


class CardMemory:
    """The memory of a graphics card, as the program that computes on it sees it, in bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """What is free on the card, and what torch holds of it without using it."""
        import torch

        free, _ = torch.cuda.mem_get_info(self._device)
        held = torch.cuda.memory_reserved(self._device)
        return int(free + held - torch.cuda.memory_allocated(self._device))

    def peak_of(self, work: Callable[[], object]) -> int:
        """The most memory that `work` takes at one time, beyond what is in use now."""
        import torch

        torch.cuda.synchronize(self._device)
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_allocated(self._device) - before)
