"""Any JAX function, with its convolutions and pools computed by jconv."""

import functools
import operator
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    jaxpr_as_fun,
    primitives as lax,
    valid_jaxtype,
)

from jconv import compat
from jconv.primitives import conv
from jconv.replacements import RULES

P = ParamSpec("P")
R = TypeVar("R")

# In place of a result that the program computes.
_COMPUTED = object()


def accelerate(fn: Callable[P, R]) -> Callable[P, R]:
    """The same function, with its convolutions and pools computed by jconv.

    Every `lax.conv_general_dilated` and every `lax.reduce_window` that adds or takes the largest or
    smallest, and their derivatives, become jconv's primitives, whichever library called them: `fn`
    may be a network of Flax, Equinox, Haiku or Keras, a gradient or a whole training step. It is
    traced, as by `jax.jit`, and the operations are replaced in its program and in all programs
    inside it: of `jit`, `scan`, `while_loop`, `cond`, `checkpoint`, `shard_map` and custom
    derivatives, which all stay what they are. Any transformation applies, before or after.

    Nothing is remembered between calls, so use it under `jit`: `jax.jit(accelerate(step))`.

    Leaves of arguments that are JAX or NumPy arrays are traced. All others, Python's numbers and
    strings among them, `fn` gets as they are. Modules of `flax.nnx` are pytrees: `fn` may close
    over one, or take and return one, or its state; what it changes in place in a module that it
    does not return is lost, or an error.

    Results are the same up to rounding, but for derivatives of maxima: here the first of equal
    elements takes all of them, and the first NaN of its window. In JAX the first takes the
    cotangent, any may take the tangent, and with a NaN both depend on the order of the elements.

    Args:
      fn: a function of JAX arrays.

    Returns:
      A function with the arguments and results of `fn`.

    Raises:
      TypeError: `fn` is not callable. Also what `fn` itself raises.

    >>> import jax, jax.numpy as jnp, jconv
    >>> def step(x, kernel):
    ...     y = jax.lax.conv_general_dilated(x, kernel, (2,), "SAME")
    ...     return jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 1, 2), (1, 1, 2)).sum()
    >>> step = jax.jit(jconv.accelerate(jax.grad(step, argnums=1)))
    >>> steps = jconv.explain(step, jnp.ones((1, 2, 8)), jnp.ones((3, 2, 3))).steps
    >>> [step.form for step in steps]
    ['forward', 'pool_max', 'pool_place', 'kernel_gradient']
    """
    if not callable(fn):
        raise TypeError(
            f"`fn` must be a function, got {type(fn).__name__}; pass the function itself, as in "
            "`accelerate(f)(x)`"
        )

    # Not `fn.__dict__`: where `fn` is a module, those are its weights.
    @functools.wraps(fn, updated=())
    def accelerated(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = {place: leaf for place, leaf in enumerate(leaves) if _is_array(leaf)}
        results: list[Any] = []
        structure: Any = None

        def flat(*traced: jax.Array) -> list[jax.Array]:
            nonlocal results, structure
            given = dict(enumerate(leaves)) | dict(zip(arrays, traced, strict=True))
            args, kwargs = jax.tree.unflatten(tree, given.values())
            results, structure = jax.tree.flatten(fn(*args, **kwargs))
            computed = [each for each in results if isinstance(each, jax.Array)]
            results = [_COMPUTED if isinstance(each, jax.Array) else each for each in results]
            return computed

        program = jax.make_jaxpr(flat)(*arrays.values())
        computed = iter(jaxpr_as_fun(_rewritten(program))(*arrays.values()))
        results = [next(computed) if each is _COMPUTED else each for each in results]
        return jax.tree.unflatten(structure, results)

    return accelerated


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and valid_jaxtype(leaf)


# --- Programs ------------------------------------------------------------------------------------

# What became of a program, None where nothing did. The same program is rewritten once, since JAX
# knows what it has compiled by the program's identity.
_known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _rewritten(program: Any) -> Any:
    """The program (a `Jaxpr` or `ClosedJaxpr`) by jconv's primitives; itself if it has no use."""
    if program not in _known:
        eqns = [each for eqn in program.eqns for each in _replacement(eqn)]
        same = len(eqns) == len(program.eqns) and all(map(operator.is_, eqns, program.eqns))
        _known[program] = None if same else compat.with_equations(program, eqns)
    return program if _known[program] is None else _known[program]


def _replacement(eqn: JaxprEqn) -> list[JaxprEqn]:
    rule = RULES.get(eqn.primitive)
    function = rule and rule(eqn)
    replaced = function and compat.equations(function, eqn)
    if replaced:
        return replaced
    params = {name: INSIDE.get(name, _programs)(value) for name, value in eqn.params.items()}
    same = all(params[name] is value for name, value in eqn.params.items())
    return [eqn if same else eqn.replace(params=params)]


def _programs(value: Any) -> Any:
    """A parameter of an operation, with the programs in it rewritten."""
    leaves, tree = jax.tree.flatten(value)
    after = [_rewritten(leaf) if isinstance(leaf, Jaxpr | ClosedJaxpr) else leaf for leaf in leaves]
    return value if all(map(operator.is_, after, leaves)) else jax.tree.unflatten(tree, after)


def _derivative(traced: Any) -> Any:
    """A function that traces a custom derivative, with its program rewritten."""

    def rewritten(*zeros: bool) -> Any:
        program, *rest = traced.call_wrapped(*zeros)
        return _rewritten(program), *rest

    return compat.wrapped(rewritten, traced)


def _policy(policy: Any) -> Any:
    """What `checkpoint` saves, asked of a convolution as it was: it is saved like a product."""
    if policy is None:
        return None

    def saves(primitive: Any, *avals: Any, **params: Any) -> Any:
        asked = lax.conv_general_dilated_p if primitive in CONVOLUTIONS else primitive
        return policy(asked, *avals, **params)

    return saves


CONVOLUTIONS = (conv.forward_p, conv.input_gradient_p, conv.kernel_gradient_p)

# Parameters that hold more than programs.
INSIDE: dict[str, Callable[[Any], Any]] = {
    "jvp_jaxpr_fun": _derivative,
    "fwd_jaxpr_thunk": _derivative,
    "bwd": lambda bwd: compat.wrapped(accelerate(bwd.call_wrapped), bwd),
    "policy": _policy,
}
