"""The primitives of pooling: two pairs of linear maps, each other's transposes, and the maximum.

    pool_sum      y = the sum over each window              transpose: pool_spread
    pool_spread   x = every y to all of its window          transpose: pool_sum
    pool_max      y = the largest element of each window    derivative: pool_pick(x, ·)
    pool_pick     y = t where x is largest in the window    transpose in t: pool_place(x, ·)
    pool_place    t = every y to where x is largest         transpose in y: pool_pick(x, ·)
    pool_argmax   where x is largest, flat over its spatial axes

x is (batch, *size, channels) and y is (batch, *out, channels); `smallest` makes the last four look
for the smallest element. Which element is largest does not change with x almost everywhere, so
`pool_pick` and `pool_place` have no derivative in x.
"""

from typing import Any

import jax
import numpy as np
from jax.interpreters import ad, batching

from jconv import compat
from jconv.geometry import Windows
from jconv.primitives import rules


def _define(form: str, shape: str, dtype: Any = None) -> compat.Primitive:
    """A primitive whose result has the spatial shape `geometry.<shape>`, and the dtype of the last
    operand unless another is given."""

    def abstract_eval(*avals: Any, geometry: Windows, **_: Any) -> Any:
        batch, *_size, channels = avals[0].shape
        last = len(avals[0].shape) - 1
        spatial = getattr(geometry, shape)
        return compat.result_type(
            avals[-1], (batch, *spatial, channels), dtype or avals[-1].dtype, {0: 0, last: last}
        )

    def batch(
        operands: tuple[jax.Array, ...], dims: tuple[int | None, ...], **params: Any
    ) -> tuple[jax.Array, int]:
        size = next(
            each.shape[dim] for each, dim in zip(operands, dims, strict=True) if dim is not None
        )
        fronts = [
            batching.bdim_at_front(each, dim, size)
            for each, dim in zip(operands, dims, strict=True)
        ]
        out = primitive.bind(*(rules.fold(each, 0) for each in fronts), **params)
        return rules.unfold(out, 0, size, fronts[0].shape[1]), 0

    primitive = rules.define(form, abstract_eval)
    batching.primitive_batchers[primitive] = batch
    return primitive


pool_sum_p = _define("pool_sum", "out")
pool_spread_p = _define("pool_spread", "size")
pool_max_p = _define("pool_max", "out")
pool_argmax_p = _define("pool_argmax", "out", np.dtype(np.int32))
pool_pick_p = _define("pool_pick", "out")
pool_place_p = _define("pool_place", "size")

ad.defjvp(pool_argmax_p, None)
ad.deflinear2(pool_sum_p, lambda ct, x, **params: [pool_spread_p.bind(ct, **params)])
ad.deflinear2(pool_spread_p, lambda ct, y, **params: [pool_sum_p.bind(ct, **params)])
ad.defjvp(pool_max_p, lambda t, x, **params: rules.bind(pool_pick_p, x, t, **params))
for _p, _transpose in ((pool_pick_p, pool_place_p), (pool_place_p, pool_pick_p)):
    ad.defjvp(_p, None, lambda t, x, _, _p=_p, **params: rules.bind(_p, x, t, **params))
    ad.primitive_transposes[_p] = lambda ct, x, _, _transpose=_transpose, **params: [
        None,
        rules.bind(_transpose, x, ct, **params),
    ]


def pool_sum(x: jax.Array, windows: Windows, *, algorithm: str) -> jax.Array:
    """The sum over each window, in the dtype of x: (batch, *out, channels)."""
    return rules.bind(pool_sum_p, x, geometry=windows, algorithm=algorithm)


def pool_max(
    x: jax.Array, windows: Windows, *, algorithm: str, smallest: bool = False
) -> jax.Array:
    """The largest (or smallest) element of each window: (batch, *out, channels)."""
    return rules.bind(pool_max_p, x, geometry=windows, algorithm=algorithm, smallest=smallest)


def pool_argmax(
    x: jax.Array, windows: Windows, *, algorithm: str, smallest: bool = False
) -> jax.Array:
    """Where that element lies, the first of equals: int32, flat over the spatial axes of x."""
    return rules.bind(pool_argmax_p, x, geometry=windows, algorithm=algorithm, smallest=smallest)
