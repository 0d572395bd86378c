"""State dicts from files: PyTorch's formats and safetensors, without PyTorch.

Pickles give descriptions of tensors (see `jconv.models.pickles`); the bytes of those in the state
dict are read here.
"""

import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from jconv.models.pickles import ADVICE, CheckpointError, Tensor, kind, unpickle

__all__ = ["CheckpointError", "read_state_dict"]

CONTAINERS = ("state_dict", "model_state_dict", "model")  # of a training checkpoint
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
SAFETENSORS = {
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays in a file of PyTorch (`.pth`, `.pt`) or safetensors, without PyTorch.

    Nothing in the file is executed, and no more is allocated than the file holds.

    Args:
      path: file of `torch.save(model.state_dict(), path)`, in its zip format or the one before
        PyTorch 1.6, or of safetensors; the content tells which. The state dict may lie in a
        training checkpoint, under "state_dict", "model_state_dict" or "model".

    Returns:
      Names of the parameters, in the file's order, to arrays of their shapes and dtypes; bfloat16
      and float8 are those of `ml_dtypes`. Where all names begin with the "module." of
      `DataParallel`, they lose it. The arrays are read-only, and tensors with a common storage
      share memory.

    Raises:
      CheckpointError: a ValueError; the file is no checkpoint, is damaged, names what would have to
        be executed, or holds something else than tensors in its state dict.
      OSError: the file cannot be opened.
      ImportError: it is a safetensors file, and the library `safetensors` is not installed.
    """
    with _File(path) as file:
        try:
            arrays = _read(file)
        except CheckpointError as error:
            raise CheckpointError(f"{str(path)!r} {error}") from None
        except ImportError:
            raise
        except Exception as error:  # whatever damaged bytes cause, also in the standard library
            raise CheckpointError(
                f"{str(path)!r} is damaged or incomplete ({type(error).__name__}: {error}); fetch "
                "or save it again"
            ) from error
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


class _File(io.BufferedReader):
    """A file that reads, and so allocates, no more than it holds, whatever is declared in it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _read(file: _File) -> dict[str, np.ndarray]:
    head = file.read(9)
    file.seek(0)
    if head[8:] == b"{":  # first, since the length before it may be any eight bytes
        return _read_safetensors(file)
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(file)
    if head.startswith(b"\x80"):
        return _read_legacy(file)
    what = f"it begins with {head!r}" if head else "it is empty"
    raise CheckpointError(f"is neither a PyTorch checkpoint nor a safetensors file: {what}")


def _read_safetensors(file: _File) -> dict[str, np.ndarray]:
    try:
        from safetensors import deserialize
    except ImportError as error:
        raise ImportError(f"install `safetensors` to read {file.name!r}") from error
    arrays = {}
    for name, entry in deserialize(file.read()):
        if entry["dtype"] not in SAFETENSORS:
            raise CheckpointError(f"holds {name!r} in {entry['dtype']}, which numpy does not have")
        dtype = np.dtype(SAFETENSORS[entry["dtype"]])
        data = _native(memoryview(entry["data"]).toreadonly(), dtype, "little")
        arrays[name] = np.ndarray(entry["shape"], dtype, data)
    return arrays


# --- PyTorch's formats ----------------------------------------------------------------------------


def _read_zip(file: _File) -> dict[str, np.ndarray]:
    """`<root>/data.pkl` is the object, `<root>/data/<key>` a storage, all of them uncompressed."""
    with zipfile.ZipFile(file) as archive:
        records = {record.filename: record for record in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise CheckpointError("is a zip archive, but not one that `torch.save` wrote")
        (root,) = roots
        if any(name.startswith((f"{root}constants.pkl", f"{root}code/")) for name in records):
            raise CheckpointError(
                "is a TorchScript archive: load it with `torch.jit.load` and save "
                "`model.state_dict()` by `torch.save`"
            )
        sizes = [record.file_size for record in records.values()]
        if sum(sizes) > file.size or any(record.compress_type for record in records.values()):
            raise CheckpointError("has compressed or overlapping records; `torch.save` writes none")

        def read(name: str) -> bytes:
            return archive.read(f"{root}{name}")  # checks its CRC

        order = read("byteorder").decode() if f"{root}byteorder" in records else "little"
        contents, _ = unpickle(io.BytesIO(read("data.pkl")))
        return _arrays(contents, lambda key: read(f"data/{key}"), order)


def _read_legacy(file: _File) -> dict[str, np.ndarray]:
    """Five pickles (magic number, protocol, system, object, keys), then each key's storage."""
    if unpickle(file)[0] != LEGACY_MAGIC:
        raise CheckpointError(f"is a pickle, but not one that `torch.save` wrote; {ADVICE}")
    if unpickle(file)[0] != LEGACY_PROTOCOL:
        raise CheckpointError("is in an unknown version of PyTorch's legacy format")
    unpickle(file)  # of the system; its byte order is not that of the storages, which is little
    contents, storages = unpickle(file)
    keys, _ = unpickle(file)
    places = {}
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"a {kind(key)} as the key of a storage")
        (count,) = struct.unpack("<Q", file.read(8))
        start = file.tell()
        places[key] = start, count * storages[key].dtype.itemsize
        if file.seek(sum(places[key])) > file.size:
            raise EOFError(f"storage {key!r} ends beyond the file")

    def read(key: str) -> bytes:
        start, size = places[key]
        file.seek(start)
        return file.read(size)

    return _arrays(contents, read, "little")


def _arrays(contents: Any, read: Callable[[str], bytes], order: str) -> dict[str, np.ndarray]:
    """The state dict in `contents`; `read` gives the bytes of a storage."""
    if isinstance(contents, dict):
        inner = (contents[key] for key in CONTAINERS if isinstance(contents.get(key), dict))
        contents = next(inner, contents)
    if not isinstance(contents, dict):
        raise CheckpointError(f"holds a {kind(contents)} and no state dict; {ADVICE}")
    for key, tensor in contents.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(
                f"has the entry {key!r} ({kind(tensor)}) in its state dict, where only tensors "
                f"have a place; {ADVICE}"
            )
    records: dict[str, bytes] = {}
    buffers: dict[tuple[str, np.dtype[Any]], Any] = {}
    arrays = {}
    for name, tensor in contents.items():
        storage, dtype = tensor.storage, tensor.dtype
        if storage.key not in records:
            records[storage.key] = read(storage.key)
        data = records[storage.key]
        if len(data) != storage.total * storage.dtype.itemsize:
            raise EOFError(f"the storage of {name!r} has {len(data)} bytes")
        if (storage.key, dtype) not in buffers:
            buffers[storage.key, dtype] = _native(data, dtype, order)
        if 0 in tensor.shape:
            arrays[name] = np.zeros(tensor.shape, dtype)
            arrays[name].flags.writeable = False
        else:  # numpy checks once more that all elements lie in the buffer
            arrays[name] = np.ndarray(
                tensor.shape,
                dtype,
                buffers[storage.key, dtype],
                storage.start * storage.dtype.itemsize + tensor.offset * dtype.itemsize,
                [stride * dtype.itemsize for stride in tensor.strides],
            )
    return arrays


def _native(data: Any, dtype: np.dtype[Any], order: str) -> Any:
    """Bytes in this machine's byte order."""
    if order not in ("little", "big"):
        raise ValueError(f"unknown byte order {order!r}")
    return data if order == sys.byteorder else np.frombuffer(data, dtype).byteswap().tobytes()
