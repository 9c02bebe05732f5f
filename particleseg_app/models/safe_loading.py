"""Reading what other programs pickled, without ever executing anything of it.

Pickles can name any function to be called while they are read. Here only plain containers,
numbers, arrays and tensors are built; a file that asks for more is refused.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.errors import ModelError

if TYPE_CHECKING:
    import torch

MAX_PICKLE_BYTES = 64 * 1024**2
MAX_CHECKPOINT_BYTES = 4 * 1024**3

# Nothing that makes much of little: `list` of `bytes` of a number would.
_HARMLESS = {
    ("collections", "OrderedDict"),
    ("builtins", "dict"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("builtins", "bool"),
    ("builtins", "str"),
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


def _refused(path: Path, what: object) -> ModelError:
    return ModelError(
        f"{path} holds more than numbers ({what}) and was not loaded, because it could run code "
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
    _check_size_unpacked(path)
    try:
        with torch.serialization.safe_globals(numbers), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a hostile file one sentence is enough
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|class|function) ['`]?(\w+(?:\.\w+)+)", str(error))
        if named is None:
            raise _unreadable(path, error) from error
        raise _refused(path, named.group(1)) from error
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no network.", "Copy the model anew.")
    return content


def _check_size_unpacked(path: Path) -> None:
    """Raise `ModelError` where a checkpoint would take more memory than it may, or than it says.

    torch stores a checkpoint as a ZIP file whose members are not compressed.
    """
    try:
        total = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ModelError(
                    f"{path} holds weights that are compressed, as no checkpoint's are.",
                    "Use a model from a source you trust.",
                )
            total = max(total, sum(member.file_size for member in members))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    if total > MAX_CHECKPOINT_BYTES:
        raise ModelError(f"{path} is too large to be part of a model.", "Choose another model.")


def plain_weights(value: Any, path: Path) -> dict[str, torch.Tensor]:
    """`value` as named weights; raises `ModelError` for anything but whole, finite, real tensors.

    A tensor can claim to be of any size over a few stored numbers. That is refused before it is
    copied anywhere, because the copy would fill the memory. `path`: the file, for the error.
    """
    import torch

    if not isinstance(value, dict) or not value:
        raise ModelError(f"{path} holds no network.", "Copy the model anew.")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelError(f"{path} holds no network.", "Copy the model anew.")
        whole = (
            tensor.layout == torch.strided
            and not tensor.is_complex()
            and not tensor.is_quantized
            and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
        )
        if not whole:
            raise ModelError(
                f"{path} holds weights that are not stored as plain numbers ({name[:80]}).",
                "Use a model from a source you trust.",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{path} holds weights that are no numbers ({name[:80]}).",
                "Its training went wrong, or the file is damaged: take another model.",
            )
    return value
