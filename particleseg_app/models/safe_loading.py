"""Reading what other programs pickled, without ever executing anything of it.

Pickles can name any function to be called while they are read. Here only plain containers,
numbers, arrays and tensors are built; a file that asks for more is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from particleseg_app.errors import ModelError

MAX_PICKLE_BYTES = 64 * 1024**2

_HARMLESS = {
    ("collections", "OrderedDict"),
    ("builtins", "dict"),
    ("builtins", "list"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "tuple"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("builtins", "bool"),
    ("builtins", "str"),
    ("builtins", "bytes"),
    ("builtins", "slice"),
    ("builtins", "complex"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _refused(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} holds more than numbers ({error}) and was not loaded, because it could run code "
        "on this computer.",
        "Use a model from a source you trust.",
    )


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} cannot be read ({type(error).__name__}).", "Copy the model anew.")


def load_plain_pickle(path: Path) -> Any:
    """The plain data of a pickle; raises `ModelError` for anything that is not plain."""
    try:
        if path.stat().st_size > MAX_PICKLE_BYTES:
            raise ModelError(f"{path} is too large to be part of a model.", "Choose another model.")
        return _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except ModelError:
        raise
    # A damaged pickle can raise nearly anything while it is read.
    except Exception as error:
        raise _unreadable(path, error) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A torch checkpoint, weights only: tensors, numbers and containers; raises `ModelError`."""
    import numpy as np
    import torch

    # How numpy pickles one number and one array, under its present and its former address.
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    numbers: list[Any] = [
        np.dtype,
        np.ndarray,
        *(type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "u1", "?")),
    ]
    for place in ("numpy._core.multiarray", "numpy.core.multiarray"):
        numbers += [(scalar, f"{place}.scalar"), (array, f"{place}._reconstruct")]
    try:
        with torch.serialization.safe_globals(numbers):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = ValueError(str(error).splitlines()[0][:120])
        raise _refused(path, reason) from error
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no network.", "Copy the model anew.")
    return content
