"""A restricted unpickler: tensors and plain data come back, everything else is inert, and unknown names are refused.

Published StyleGAN2 pickles hold modules whose classes are rebuilt from source code in the file itself
(``torch_utils.persistence``).  Here that source is a text like any other: an object becomes an :class:`Inert` that
remembers its class's name, arguments and state.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError


class Inert:
    """Stands for an object whose class is not imported: its arguments and its state, nothing that can be run."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# Names in published files that are not needed, beside every torch.nn layer; all others are refused.
_INERT = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch", "float16"),
    ("torch", "float32"),
    ("torch", "memory_format"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_PLAIN: dict[tuple[str, str], Any] = {  # built-in types: nothing can be assigned to them
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


def read_pickle(path: Path) -> Any:
    """What a pickle holds.

    Raises:
        FaceVeilError: it names anything beyond tensors, plain data and the classes of published generators, or is damaged.
    """
    with path.open("rb") as file:
        try:
            return _Restricted(file, path).load()
        except FaceVeilError:
            raise
        except MemoryError:
            raise FaceVeilError(f"{path} needs more memory to be read than there is.") from None
        except Exception as error:  # a damaged pickle can raise anything
            raise FaceVeilError(f"{path} is not a readable pickle ({type(error).__name__}: {error}).") from None


class _Restricted(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self.path = path
        # made anew for every file, because a pickle can assign attributes to whatever it can name
        self.known: dict[tuple[str, str], Any] = {
            **_PLAIN,
            **{name: type(name[1], (Inert,), {}) for name in _INERT},
            ("dnnlib.util", "EasyDict"): type("EasyDict", (dict,), {}),
            ("torch._utils", "_rebuild_tensor_v2"): lambda *args: rebuild_tensor(*args),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch.storage", "_load_from_bytes"): lambda data: load_storage(data),
        }

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("torch.nn.modules.") and name.isidentifier():
            self.known.setdefault((module, name), type(name, (Inert,), {}))
        if (module, name) not in self.known:
            if module.split(".")[0] == "dnnlib" and "tflib" in module:
                raise FaceVeilError(
                    f"{self.path} is a TensorFlow pickle: convert it with NVlabs' legacy.py to a PyTorch one first."
                )
            raise FaceVeilError(
                f"{self.path} asks for {module}.{name}, which is code, and code in a file is never run. Only generators of "
                "NVlabs' stylegan2-ada-pytorch are read from pickles; where you trust the file, load it with its own code and "
                "save the tensors of G_ema as safetensors."
            )
        return self.known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FaceVeilError(f"{self.path} refers to data outside of itself ({str(pid)[:40]!r}).")


def load_storage(data: bytes) -> Tensor:
    """The flat tensor in the bytes that torch writes for a pickled storage."""
    storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)


def rebuild_tensor(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor of its own memory from a flat one; never larger than what it is made of."""
    if math.prod(size) > flat.numel() or min((*size, *stride, offset), default=0) < 0:
        raise FaceVeilError(f"a tensor of shape {tuple(size)} is declared on {flat.numel()} numbers.")
    return flat.as_strided(size, stride, offset).clone()
