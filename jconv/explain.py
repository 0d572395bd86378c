"""What would run: the algorithm of every convolution and pool in a function, and why."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jconv import select
from jconv.geometry import Windows
from jconv.primitives.rules import FORMS


@dataclasses.dataclass(frozen=True)
class Step:
    """One convolution or pool: its form and geometry, and the algorithms weighed for it."""

    form: str
    geometry: Windows
    dtypes: tuple[Any, ...]
    chosen: select.Candidate
    candidates: tuple[select.Candidate, ...]

    def __str__(self) -> str:
        costs = ", ".join(
            f"{each.algorithm} {each.cost:.2f}"
            if each.cost is not None
            else f"{each.algorithm} {each.reason}"
            for each in self.candidates
        )
        settings = ", ".join(
            f"{name}={value}" for name, value in vars(self.geometry).items() if value != 1
        )
        return (
            f"{self.form} by {self.chosen.algorithm} ({self.chosen.reason})\n"
            f"    {settings}, dtypes {' '.join(map(str, self.dtypes))}\n"
            f"    costs: {costs}"
        )


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The steps of a function on one platform, in the order of the program."""

    platform: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        head = f"{len(self.steps)} convolutions and pools on {self.platform}; cost of xla is 1"
        return "\n".join([head, *map(str, self.steps)])


def explain(
    fun: Callable[..., Any], *args: Any, platform: str | None = None, **kwargs: Any
) -> Explanation:
    """Tells which algorithm every convolution and pool in `fun(*args, **kwargs)` would run, why,
    and what the candidates would cost.

    Nothing is computed: `fun` is traced, so it may be a gradient or a whole training step, and the
    arrays may be `jax.ShapeDtypeStruct`. A step inside a loop is named once.

    Args:
      fun: any function of JAX arrays; the functions of jconv are such.
      *args, **kwargs: its arguments. Keyword arguments are taken as they are (static).
      platform: "cpu", "gpu" or "tpu"; None is where JAX runs by default.

    Returns:
      An `Explanation`: `print` it, or read its `steps`.

    Raises:
      What `fun` raises while it is traced; ValueError for an unknown platform.

    >>> import jax.numpy as jnp, jconv
    >>> explanation = explain(jconv.conv, jnp.ones((8, 8, 3)), jnp.ones((3, 3, 3, 4)), stride=2)
    >>> [(step.form, step.chosen.algorithm in jconv.algorithms()) for step in explanation.steps]
    [('forward', True)]
    """
    platform = platform_of(platform)
    steps = []
    for eqn in operations(fun, *args, **kwargs):
        weighed = (*as_weighed(eqn, platform), platform, select.is_portable())
        steps.append(
            Step(
                *weighed[:3],
                chosen=select.choose(*weighed, eqn.params["algorithm"]),
                candidates=tuple(select.candidates(*weighed)),
            )
        )
    return Explanation(platform, tuple(steps))


def platform_of(platform: str | None) -> str:
    """`platform` if it is one that `explain` knows; None is where JAX runs by default."""
    platforms = ("cpu", "gpu", "tpu")
    platform = jax.default_backend() if platform is None else platform
    if platform not in platforms:
        raise ValueError(f"`platform` must be one of {platforms}, got {platform!r}")
    return platform


def operations(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[JaxprEqn]:
    """Every operation of jconv's primitives in `fun(*args, **kwargs)`; one inside a loop once."""
    return _within(jax.make_jaxpr(lambda *arrays: fun(*arrays, **kwargs))(*args).jaxpr)


def _within(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for eqn in jaxpr.eqns:
        if eqn.primitive in FORMS:
            yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from _within(inner)


def as_weighed(eqn: JaxprEqn, platform: str) -> tuple[str, Windows, tuple[Any, ...]]:
    """Form, geometry and dtypes of an operation, as `select` is asked about them."""
    geometry = eqn.params["geometry"]
    if platform == "cpu" and getattr(geometry, "stack", 1) > 1:
        geometry = dataclasses.replace(geometry, stack=1)  # `lowering` makes a loop of the stack
    dtypes = tuple(getattr(var.aval, "dtype", None) for var in (*eqn.invars, *eqn.outvars))
    return FORMS[eqn.primitive], geometry, dtypes
