"""What `torch.save` pickled, without running the pickle.

A pickle is a program. `unpickle` interprets the few opcodes that `torch.save` writes: a global
stays a name, a call is a lookup of that name among the functions below, and no attribute is ever
read or set. (A subclass of `pickle.Unpickler` would set attributes of whatever a file names, and
allocate as much as a file declares.) Tensors and their storages become descriptions.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401 (tells numpy of bfloat16 and the float8s)
import numpy as np

ADVICE = "load the file with PyTorch, if you trust it, and save `model.state_dict()` alone"
MAX_NDIM = 64  # numpy's
MAX_ARGUMENTS = 8  # of `_rebuild_tensor_v3`

STORAGES = {
    "torch.BoolStorage": "bool",
    "torch.ByteStorage": "uint8",
    "torch.CharStorage": "int8",
    "torch.ShortStorage": "int16",
    "torch.IntStorage": "int32",
    "torch.LongStorage": "int64",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.storage.UntypedStorage": "uint8",
}
FLOAT8 = {f"float8_{form}" for form in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")}
# Of the tensors in untyped storages.
DTYPES = {
    f"torch.{name}": name for name in {*STORAGES.values(), "uint16", "uint32", "uint64", *FLOAT8}
}
# What training checkpoints hold beside the state dict. Made and called, these remain mere names.
INERT = {
    *STORAGES,
    *DTYPES,
    *("torch.device", "torch.Size", "numpy.dtype", "_codecs.encode", "argparse.Namespace"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("collections.Counter", "collections.defaultdict"),
    *("pathlib.PosixPath", "pathlib.WindowsPath"),
    *("pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("builtins.dict", "builtins.list", "builtins.set"),
    *("__builtin__.dict", "__builtin__.list", "__builtin__.set"),
}


class CheckpointError(ValueError):
    """A file that holds no state dict which can be read: which file, why, and what to do."""


@dataclass(frozen=True)
class Storage:
    """`count` elements from `start` on, of the `total` in record `key`."""

    key: str
    dtype: np.dtype[Any]
    total: int
    start: int
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, within it; offset and strides in elements of `dtype`."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Global:
    """A name in a pickle; if it is inert, also what a call of it returns."""

    name: str


def kind(value: Any) -> str:
    """What to call `value` in a message."""
    return value.name if isinstance(value, Global) else type(value).__name__


# --- The interpreter ------------------------------------------------------------------------------

_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_SINGLETONS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Sets become lists: to hash deeply nested elements would overflow the C stack.
_EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_MARKED = {"TUPLE", "APPENDS", "SETITEMS", "ADDITEMS"}  # these take all above the last mark
_OPERANDS = {
    **{"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2},
    **{"STACK_GLOBAL": 2, "REDUCE": 2, "NEWOBJ": 2, "BUILD": 1, "BINPERSID": 1},
}


def unpickle(file: Any) -> tuple[Any, dict[str, Storage]]:
    """Interpret one pickle of the binary `file`, from where it stands.

    Returns:
      The object, of plain values, Tensors, Storages and Globals; and all storages by key.

    Raises:
      CheckpointError: it names a global or an opcode that no state dict needs.
      Exception: of any class; the pickle is damaged.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # what lay on the stack when a mark was set
    memo: dict[Any, Any] = {}  # a list, as in `pickle`, would grow to any index in the file
    storages: dict[str, Storage] = {}
    for opcode, argument, _ in pickletools.genops(file):
        operands: list[Any] = []
        if opcode.name in _MARKED:
            operands, stack = stack, below.pop()
        elif count := _OPERANDS.get(opcode.name):
            operands = stack[-count:]
            del stack[-count:]
        match opcode.name:
            case "PROTO" | "FRAME" | "BUILD":  # attributes, such as `_metadata`, go
                pass
            case "STOP":
                return stack.pop(), storages
            case name if name in _LITERALS:
                stack.append(argument)
            case name if name in _SINGLETONS:
                stack.append(_SINGLETONS[name])
            case name if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(operands))
            case "APPEND" | "APPENDS" | "ADDITEMS" | "SETITEM" | "SETITEMS":
                _extend(stack[-1], operands)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_global(*str(argument).split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_global(*operands))
            case "REDUCE" | "NEWOBJ":
                stack.append(_call(*operands))
            case "BINPERSID":
                storage = _storage(*operands)
                storages[storage.key] = storage
                stack.append(storage)
            case name:
                raise CheckpointError(f"has the pickle opcode {name}, unknown here; {ADVICE}")
    raise EOFError("a pickle without an end")


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float | None):  # as for sets
                raise CheckpointError(f"has a {kind(key)} as a key of a dictionary; {ADVICE}")
            target[key] = value
    elif not isinstance(target, Global):
        raise TypeError(f"a {kind(target)} has no items")


def _global(module: Any, name: Any) -> Global:
    if not (isinstance(module, str) and isinstance(name, str)):  # shown, others could be endless
        raise TypeError("a global whose name is no string")
    known = Global(f"{module}.{name}")
    if known.name not in _FUNCTIONS and known.name not in INERT:
        raise CheckpointError(
            f"names the global `{known.name}`, which no state dict needs; nothing was executed. To "
            f"use what is in it, {ADVICE}"
        )
    return known


def _call(function: Any, arguments: Any) -> Any:
    if not (isinstance(function, Global) and isinstance(arguments, tuple)):
        raise TypeError(f"a {kind(function)} is called with a {kind(arguments)}")
    if function.name not in _FUNCTIONS:
        return function
    if len(arguments) > MAX_ARGUMENTS:  # a long tuple could be unpacked again and again
        raise TypeError(f"`{function.name}` is called with {len(arguments)} arguments")
    return _FUNCTIONS[function.name](*arguments)


# --- What it calls: each checks all that it is given ----------------------------------------------


def _naturals(*values: Any) -> None:
    if not all(type(value) is int and 0 <= value < 2**63 for value in values):
        raise ValueError("a size, stride or offset is not a natural number")


def _storage(identity: Any) -> Storage:
    match identity:
        case ("storage", Global(name=name), str(key), _, total, *views) if name in STORAGES:
            _, start, count = views[0] if views and views[0] is not None else (key, 0, total)
            _naturals(total, start, count)
            if start + count > total:
                raise ValueError(f"a view of storage {key!r} ends beyond it")
            return Storage(key, np.dtype(STORAGES[name]), total, start, count)
    raise ValueError("a storage is described in an unknown way")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *state: Any) -> Tensor:
    _, _, metadata = (*state, None, None, None)[:3]
    return _view(storage, offset, shape, strides, storage.dtype, metadata)


def _tensor_v3(storage: Any, offset: Any, shape: Any, strides: Any, *state: Any) -> Tensor:
    _, _, dtype, metadata = (*state, None)[:4]
    return _view(storage, offset, shape, strides, np.dtype(DTYPES[dtype.name]), metadata)


def _view(
    storage: Any, offset: Any, shape: Any, strides: Any, dtype: np.dtype[Any], metadata: Any
) -> Tensor:
    if not (
        isinstance(storage, Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
    ):
        raise TypeError("a tensor is described in an unknown way")
    if not len(shape) == len(strides) <= MAX_NDIM:
        raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
    if metadata:
        raise CheckpointError(
            "holds a lazily conjugated or negated tensor; save `x.resolve_conj().resolve_neg()`"
        )
    _naturals(offset, *shape, *strides)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    available = storage.count * storage.dtype.itemsize
    if 0 not in shape and (last + 1) * dtype.itemsize > available:
        raise ValueError(
            f"a tensor of shape {shape} with strides {strides} from {offset} on leaves its storage "
            f"of {available} bytes"
        )
    return Tensor(storage, dtype, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(pairs: Any = None) -> dict[Any, Any]:
    """A dict of the pairs that Python 2 gave it."""
    result: dict[Any, Any] = {}
    if pairs is not None:
        for key, value in pairs:
            _extend(result, [key, value])
        pairs.clear()  # or a list could be named again and again, and copied without end
    return result


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
