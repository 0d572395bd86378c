"""How far a result may be from the reference, by dtype and length of the reduction."""

import math

import jax.numpy as jnp
import numpy as np

# Relative to the result: the last rounding, and one more for a bias or a divisor added after it.
ROUNDING = {
    "float64": 2.0**-51,
    "complex128": 2.0**-51,
    "float32": 2.0**-22,
    "complex64": 2.0**-22,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}

# Relative to one product of a reduction, whose errors grow as the root of its length. Winograd and
# FFT algorithms cancel larger intermediates and lose some 6 bits more than a sum in order. Half
# precision accumulates in float32, but where the sum cancels, its last rounding is one of a term.
ACCUMULATION = {
    "float64": 2.0**-46,
    "complex128": 2.0**-46,
    "float32": 2.0**-17,
    "complex64": 2.0**-17,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}


def assert_close(actual: object, expected: np.ndarray, *, terms: int = 1) -> None:
    """`actual` has the shape of `expected` and its values after a reduction of `terms` products of
    numbers of order one. Infinities and NaNs stand in the same places; integers are equal."""
    dtype = jnp.asarray(actual).dtype
    assert np.shape(actual) == expected.shape, (np.shape(actual), expected.shape)
    if not jnp.issubdtype(dtype, jnp.inexact):
        np.testing.assert_array_equal(np.asarray(actual), expected)
        return
    wide = complex if jnp.issubdtype(dtype, jnp.complexfloating) else float
    np.testing.assert_allclose(
        np.asarray(actual).astype(wide),
        expected,
        rtol=ROUNDING[dtype.name],
        atol=ACCUMULATION[dtype.name] * math.sqrt(terms),
    )
