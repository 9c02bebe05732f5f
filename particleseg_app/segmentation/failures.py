"""What can befall a run from outside, in one sentence with a remedy: disk, drive, memory, card."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from particleseg_app.durable_files import disk_is_full
from particleseg_app.errors import CardError, RunError
from particleseg_app.file_access import is_folder

_CONTINUE = "continue the run; it goes on where it stopped."
# What a drive says that was pulled out, switched off or lost with the network.
_GONE = {
    getattr(errno, name)
    for name in ("EIO", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "ESHUTDOWN", "EHOSTDOWN")
    if hasattr(errno, name)
}
# What torch says when a file of weights could not be written; the disk itself must say why.
_WRITE_TEXTS = ("inline_container", "PytorchStreamWriter")
_HARDLY_FREE_BYTES = 64 * 1024**2
_GONE_TEXTS = ("Input/output error", "Stale file handle", "No such device")
_CARD_TEXTS = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS", "cuDNN error", "HIP error")


def in_words(error: Exception, folder: Path) -> RunError | None:
    """The failure of a run whose files lie in `folder` as a `RunError`, None for what is a bug.

    Everything that was finished is still there, so each remedy ends with continuing.
    """
    text = str(error)
    if isinstance(error, MemoryError):
        return RunError(
            "The computer has too little free memory for the run.",
            f"Close other programs, or allow the run less memory, and {_CONTINUE}",
        )
    if is_of_card(error):
        first_line = text.strip().splitlines()[0].rstrip(".") if text.strip() else "no details"
        return CardError(
            f"The graphics card reported an error ({first_line}).",
            "Start the program anew and continue the run, or continue it on the processor.",
        )
    if not isinstance(error, OSError | RuntimeError):
        return None
    number = getattr(error, "errno", None)
    if disk_is_full(error) or (any(part in text for part in _WRITE_TEXTS) and _hardly_free(folder)):
        return RunError(
            f"There is no space left on the disk that holds {folder}.",
            f"Free some space and {_CONTINUE}",
        )
    there = is_folder(folder)
    if not there or number in _GONE or any(part in text for part in _GONE_TEXTS):
        gone = "is no longer there" if not there else "can no longer be read or written"
        return RunError(
            f"The folder {folder} {gone}.",
            f"Connect its drive again, or put it back in its place, and {_CONTINUE}",
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(
            f"{getattr(error, 'filename', None) or folder} cannot be written to.",
            f"Check your permissions and {_CONTINUE}",
        )
    return None


@contextmanager
def failures_in_words(folder: Path) -> Iterator[None]:
    """Raise what befell a run in `folder` as a `RunError` (see `in_words`)."""
    try:
        yield
    except Exception as error:
        problem = in_words(error, folder)
        if problem is None:
            raise
        raise problem from error


def check_numbers(numbers: bool, on_card: bool) -> None:
    """Raise `RunError` where the network's answer was no number; on a card a `CardError`.

    Half precision that overflows or a faulty card would else leave holes that nobody sees.
    """
    if numbers:
        return
    sentence = "The network’s answer was no number in a part of the scan."
    if on_card:
        remedy = "The graphics card or its driver may be faulty: continue on the processor."
        raise CardError(sentence, remedy)
    raise RunError(sentence, "Choose another model, and PyTorch instead of OpenVINO.")


def is_of_card(error: Exception) -> bool:
    """Whether torch raised it because of the graphics card."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _CARD_TEXTS)


def _hardly_free(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _HARDLY_FREE_BYTES
    except OSError:
        return False
