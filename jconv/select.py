"""Which algorithm computes which form of which geometry on which platform.

The forms: of a convolution `forward`, `input_gradient`, `kernel_gradient`; of a pool `pool_sum`,
`pool_spread`, `pool_max`, `pool_argmax`, `pool_pick`, `pool_place`. An algorithm is a module of
`jconv.algorithms` with a function for each form that it computes, and

    PORTABLE                                      whether it emits only public XLA operations
    supports(form, geometry, dtypes, platform)    the truth: it is right wherever it says so
    cost(form, geometry, dtypes, platform)        a belief: time in units of `xla`'s

Where times were measured (`jconv.measured`), they replace beliefs.
"""

import functools
import importlib
import os
import pkgutil
from types import ModuleType
from typing import Any, NamedTuple

import jax

from jconv import measured
from jconv.algorithms import __path__ as _folder
from jconv.geometry import Windows

LAST_RESORT = "xla"
BELIEVED = "the cheapest that is supported"  # the reason for what nobody measured

_portable = jax.make_user_context(default_value=None)


class Candidate(NamedTuple):
    """An algorithm, weighed: its cost in units of `xla`'s, None where it cannot be used, and how
    that is known."""

    algorithm: str
    cost: float | None
    reason: str


@functools.cache
def algorithms() -> tuple[str, ...]:
    """Names of all algorithms: the words that `algorithm=` takes besides `"auto"`.

    >>> "xla" in algorithms()
    True
    """
    return tuple(module.name for module in pkgutil.iter_modules(_folder))


def load(name: str) -> ModuleType:
    return importlib.import_module(f"jconv.algorithms.{name}")


def portable(enable: bool = True) -> Any:
    """A context in which only exportable, supported XLA operations are emitted.

    `JCONV_PORTABLE=1` in the environment makes it the default; `portable(False)` undoes it.
    Functions under `jit` are traced anew inside. `jax.export` needs no such context: what is
    exported is portable always.

    >>> import jax, jax.numpy as jnp, jconv
    >>> x, kernel = jnp.ones((1, 8, 2)), jnp.ones((3, 2, 4))
    >>> with jconv.portable():
    ...     jax.jit(jconv.conv)(x, kernel).shape
    (1, 6, 4)
    """
    return _portable(enable)


def is_portable() -> bool:
    if _portable.value is not None:
        return bool(_portable.value)
    return os.environ.get("JCONV_PORTABLE", "0").lower() not in ("", "0", "false")


def default_algorithm() -> str:
    """`JCONV_ALGORITHM` of the environment, or "auto"."""
    name = os.environ.get("JCONV_ALGORITHM", "auto")
    if name != "auto" and name not in algorithms():
        raise ValueError(
            f"`JCONV_ALGORITHM` must be 'auto' or one of {algorithms()}, got {name!r}; "
            "correct it in the environment"
        )
    return name


def candidates(
    form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str, only_portable: bool
) -> list[Candidate]:
    """All algorithms, weighed: the cheapest first, those that cannot be used last."""
    weighed = []
    for name in algorithms():
        module = load(name)
        if not hasattr(module, form):
            weighed.append(Candidate(name, None, f"does not compute {form!r}"))
        elif only_portable and not module.PORTABLE:
            weighed.append(Candidate(name, None, "is not portable"))
        elif not module.supports(form, geometry, dtypes, platform):
            weighed.append(Candidate(name, None, "does not support this geometry, dtype, platform"))
        else:
            cost = module.cost(form, geometry, dtypes, platform)
            weighed.append(Candidate(name, cost, BELIEVED))
    weighed = _with_times(weighed, measured.key(form, geometry, dtypes), platform)
    return sorted(
        weighed, key=lambda each: (each.cost is None, each.cost, each.algorithm == LAST_RESORT)
    )


def _with_times(weighed: list[Candidate], key: str, platform: str) -> list[Candidate]:
    """With costs as they were measured, by the first table that knows a usable algorithm."""
    usable = {each.algorithm for each in weighed if each.cost is not None}
    for table in measured.tables(platform):
        times = table.times(key)
        known = usable.intersection(times)
        if known:
            unit = times.get(LAST_RESORT, max(times.values()))
            return [
                each._replace(cost=times[each.algorithm] / unit, reason=table.reason)
                if each.algorithm in known
                else each
                for each in weighed
            ]
    return weighed


def choose(
    form: str,
    geometry: Windows,
    dtypes: tuple[Any, ...],
    platform: str,
    only_portable: bool,
    preferred: str = "auto",
) -> Candidate:
    """The algorithm that computes `form`: `preferred` where it can, else the cheapest."""
    weighed = candidates(form, geometry, dtypes, platform, only_portable)
    for each in weighed:
        if each.algorithm == preferred and each.cost is not None:
            return each._replace(reason="asked for")
    return weighed[0]


def require(algorithm: str, form: str, geometry: Windows, dtypes: tuple[Any, ...]) -> str:
    """`algorithm` as the preference of a primitive, if it can compute `form` here."""
    if algorithm == "auto":
        return default_algorithm()
    if not isinstance(algorithm, str):
        raise TypeError(f"`algorithm` must be a string, got {algorithm!r}")
    if algorithm not in algorithms():
        raise ValueError(f"`algorithm` must be 'auto' or one of {algorithms()}, got {algorithm!r}")
    platform = jax.default_backend()
    weighed = candidates(form, geometry, dtypes, platform, is_portable())
    reason = next(each for each in weighed if each.algorithm == algorithm)
    if reason.cost is None:
        usable = tuple(each.algorithm for each in weighed if each.cost is not None)
        raise ValueError(
            f"`algorithm` {algorithm!r} {reason.reason}: {form} of {geometry} with dtypes "
            f"{tuple(map(str, dtypes))} on {platform!r}; use 'auto' or one of {usable}"
        )
    return algorithm
