"""Any function as a program, in which the modules of NNX models are scopes."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import ClosedJaxpr

Build: TypeAlias = Callable[[Sequence[Any]], Any]

# Of a module's copy: the name of its scope.
SCOPE = "jconv_scope"


@dataclasses.dataclass(frozen=True)
class Traced:
    """A function's program.

    Attributes:
      closed: the program.
      arrays: what it is called with: arrays, or their shapes.
      parameters: which of these are parameters.
      modules: names of the modules, each of which is a scope.
    """

    closed: ClosedJaxpr
    arrays: tuple[Any, ...]
    parameters: tuple[bool, ...]
    modules: frozenset[str]


def trace(fn: Any, args: Sequence[Any], parameters: Sequence[int]) -> Traced:
    """Traces `fn(*args)`. The parameters are those of NNX models, and the floats of `fn` itself, if
    it is a pytree, and of `args` at the positions `parameters`."""
    builds: list[Build] = []
    given: list[list[Any]] = []
    owned: list[bool] = []
    modules: set[str] = set()
    for position, value in enumerate((fn, *args), start=-1):
        if isinstance(value, nnx.Pytree):
            value, names = _in_scopes(value)
            modules |= names
            arrays, build = _apart(value)
            owns = [isinstance(each, nnx.Param) for each in arrays]
        else:
            arrays, build = _flattened(value)
            own = position in (-1, *parameters)
            owns = [own and jnp.issubdtype(each.dtype, jnp.inexact) for each in arrays]
        builds.append(build)
        given.append(arrays)
        pairs = zip(owns, arrays, strict=True)
        owned += [own for own, each in pairs for _ in jax.tree.leaves(each)]

    def call(given: Sequence[Sequence[Any]]) -> Any:
        fn, *args = (build(arrays) for build, arrays in zip(builds, given, strict=True))
        return fn(*args)

    closed = jax.make_jaxpr(call)(given)
    return Traced(closed, tuple(jax.tree.leaves(given)), tuple(owned), frozenset(modules))


def _flattened(value: Any) -> tuple[list[Any], Build]:
    """The arrays in a pytree, and what puts others in their place; all else stays."""
    leaves, tree = jax.tree.flatten(value)
    kinds = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, kinds)]

    def build(arrays: Sequence[Any]) -> Any:
        replaced = dict(enumerate(leaves)) | dict(zip(places, arrays, strict=True))
        return jax.tree.unflatten(tree, replaced.values())

    return [leaves[i] for i in places], build


def _apart(model: nnx.Pytree) -> tuple[list[Any], Build]:
    """The variables of a model, and what puts others in their place."""
    graphdef, state = nnx.split(model)
    pairs = nnx.to_flat_state(state)
    paths = [path for path, _ in pairs]

    def build(variables: Sequence[Any]) -> Any:
        state = nnx.from_flat_state(list(zip(paths, variables, strict=True)))
        return nnx.merge(graphdef, state)

    return [variable for _, variable in pairs], build


def _in_scopes(model: nnx.Pytree) -> tuple[nnx.Pytree, set[str]]:
    """A copy whose modules are called in scopes, named after their paths; and these names."""
    model = nnx.merge(*nnx.split(model))
    named = [
        (node, ".".join(map(str, path)) or type(node).__name__)
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Module) and callable(node)
    ]
    for node, name in named:
        setattr(node, SCOPE, name)
        object.__setattr__(node, "__class__", _scoped(type(node)))
    return model, {name for _, name in named}


@functools.cache
def _scoped(kind: type) -> type:
    """A class of modules whose calls are scopes. As their class and the name are part of what NNX
    knows of a module, they stay where it is taken apart and put together again."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(getattr(self, SCOPE)):
            return kind.__call__(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {"__call__": __call__})
