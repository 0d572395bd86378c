"""Weights of other libraries into jconv's networks, and back."""

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.arguments import choice
from jconv.models.checkpoints import read_state_dict
from jconv.models.network import Names, Network

N = TypeVar("N", bound=Network)

# What a parameter is called here and there.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
}


class KeptHead(UserWarning):
    """The checkpoint has another number of classes, so the network keeps its own classifier."""


class _Entry(NamedTuple):
    """A variable of the network and what the other library calls it."""

    variable: nnx.Variable[Any]
    key: str
    head: bool
    shape: tuple[int, ...]  # over there

    def convert(self, array: np.ndarray) -> jax.Array:
        """The other library's array in the layout of the variable.

        Dense layers are (out, in), convolutions (out, in, *window), here (in, out) and
        (*window, in, out). A dense layer over flattened maps is a convolution over the whole map.
        """
        if self.variable.ndim > 1:
            *window, channels, out = self.variable.shape
            array = array.reshape(out, channels, *window)
            array = array.transpose(*range(2, array.ndim), 1, 0)
        # A copy: JAX would share the memory of arrays that their owner may still change.
        return jnp.array(array, self.variable.dtype)

    def restore(self) -> np.ndarray:
        """The variable's array in the layout of the other library."""
        array = np.asarray(self.variable[...])
        if array.ndim > 1:
            array = array.transpose(-1, -2, *range(array.ndim - 2))
        if self.key.endswith("num_batches_tracked"):
            array = array.astype(np.int64)
        return np.array(array.reshape(self.shape), order="C")  # its own, and contiguous


def from_torchvision(
    model: N,
    source: Mapping[str, Any] | str | os.PathLike[str],
    *,
    layout: str = "torchvision",
) -> N:
    """Loads the weights of torchvision's network of the same name.

    Every key of the checkpoint must have its place in the network, and every parameter its key.
    Where only the number of classes differs, the network keeps its own classifier, and a `KeptHead`
    warning says so; so it does where the network has no classifier (`num_classes=0`).

    Args:
      model: the network; its parameters and statistics are replaced in place. It may be abstract,
        made inside `nnx.eval_shape`, which draws no initial values.
      source: a state dict, name to array (NumPy's, JAX's or CPU PyTorch's), or the path of a
        `.safetensors` or `.pth` file with one. Nothing in a `.pth` file is executed.
      layout: whose names the checkpoint has: "torchvision", which timm's residual networks share,
        or for residual networks "microsoft", those of `microsoft/resnet-50` and its like.

    Returns:
      `model`.

    Raises:
      ValueError: the file is damaged, or keys are missing, left over or of another shape; all are
        listed, and the network is as it was.
      TypeError: `source` holds something that is no array.

    >>> from flax import nnx
    >>> from jconv.models.resnet import resnet18
    >>> one, other = resnet18(rngs=nnx.Rngs(1)), resnet18(rngs=nnx.Rngs(2))
    >>> from_torchvision(one, to_torchvision(other)).fc.kernel[0, 0] == other.fc.kernel[0, 0]
    Array(True, dtype=bool)
    """
    entries = _entries(model, layout)
    if isinstance(source, str | os.PathLike):
        source = read_state_dict(source)
    if not isinstance(source, Mapping):
        raise TypeError(
            f"`source` must be a mapping of names to arrays or a path, got {type(source).__name__}"
        )
    given = {key: _as_numpy(key, value) for key, value in source.items()}

    found: list[tuple[_Entry, np.ndarray]] = []
    kept: list[str] = []
    wrong: list[str] = []
    abstract = False
    for entry in entries:
        array = given.pop(entry.key, None)
        if array is None:
            # PyTorch before 0.4.1 did not count batches.
            if entry.key.endswith("num_batches_tracked"):
                found.append((entry, np.zeros(entry.shape, np.int64)))
            else:
                wrong.append(f"missing `{entry.key}` {entry.shape}")
        elif array.shape == entry.shape:
            found.append((entry, array))
        elif entry.head and array.shape[1:] == entry.shape[1:]:
            kept.append(f"`{entry.key}` {array.shape}, here {entry.shape}")
            abstract |= isinstance(entry.variable.get_value(), jax.ShapeDtypeStruct)
        else:
            wrong.append(f"`{entry.key}` has shape {array.shape}, must have {entry.shape}")
    for key, array in given.items():
        if _of_absent_head(model, layout, key):
            kept.append(f"`{key}` {array.shape}, here none")
        else:
            wrong.append(f"left over `{key}` {array.shape}")
    if wrong:
        raise ValueError(
            f"`source` does not fit {type(model).__name__}: {len(wrong)} keys\n  "
            + "\n  ".join(wrong)
            + "\nNothing was changed; build the network that the checkpoint was saved from, here "
            f"{model.config}, or see `layout`"
        )
    if kept:
        warnings.warn(
            KeptHead("the network keeps its own classifier, since the checkpoint has "
                     + ", ".join(kept)), stacklevel=2
        )  # fmt: skip
    if abstract:
        raise ValueError(
            f"`source` has another number of classes, {', '.join(kept)}, and an abstract network "
            "has no classifier to keep; make it outside of `nnx.eval_shape`, or with `num_classes`"
        )
    arrays = [entry.convert(array) for entry, array in found]
    for (entry, _), value in zip(found, arrays, strict=True):
        entry.variable.set_value(value)
    return model


def to_torchvision(model: Network, *, layout: str = "torchvision") -> dict[str, np.ndarray]:
    """The network's weights under torchvision's names and in its layout.

    Args:
      model: a network that torchvision has.
      layout: as in `from_torchvision`.

    Returns:
      Name to NumPy array; `{k: torch.from_numpy(v) for k, v in ...}` is what `load_state_dict`
      takes, and `safetensors.numpy.save_file` writes it.

    Raises:
      ValueError: torchvision has no such network.
    """
    return {entry.key: entry.restore() for entry in _entries(model, layout)}


def _entries(model: Network, layout: str) -> list[_Entry]:
    """Every parameter and statistic of the network, with its name over there."""
    if not isinstance(model, Network):
        raise TypeError(f"`model` must be a network of jconv.models, got {type(model).__name__}")
    if not model.layouts:
        raise ValueError(
            f"`model` must be a network that torchvision has, got {type(model).__name__}; save and "
            "load its `nnx.state` instead"
        )
    names = model.layouts[choice("layout", layout, tuple(model.layouts))]
    entries = []
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            *modules, leaf = (str(part) for part in path)
            module = ".".join(modules)
            shape = tuple(variable.shape)
            if len(shape) > 1:
                *window, channels, out = shape
                shape = (out, channels, *window)
                if module in model.dense:
                    shape = (out, int(np.prod(shape[1:])))
            key = f"{_rename(module, names)}.{LEAVES[leaf]}"
            entries.append(_Entry(variable, key, module in model.heads, shape))
    return entries


def _rename(module: str, names: Names) -> str:
    """What the other library calls the module at this path."""
    for pattern, replacement in names:
        if match := re.fullmatch(pattern, module):
            return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
    raise AssertionError(f"no name for {module} in {names}")


def _of_absent_head(model: Network, layout: str, key: str) -> bool:
    """Whether `key` belongs to a classifier which the network was made without."""
    if model.config.num_classes:
        return False
    heads = [_rename(head, model.layouts[layout]) for head in model.heads]
    return key.rpartition(".")[0] in heads


def _as_numpy(key: str, value: Any) -> np.ndarray:
    if not hasattr(value, "shape"):
        raise TypeError(f"`source` must hold arrays, got {type(value).__name__} at {key!r}")
    if hasattr(value, "detach"):  # a tensor; NumPy has no bfloat16
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)
