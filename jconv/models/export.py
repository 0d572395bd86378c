"""A network's inference as one self-contained file, and back."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.models.network import Network
from jconv.select import portable


def export_inference(
    model: Network,
    x_shape: Sequence[int | str],
    *,
    dtype: Any = jnp.float32,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> bytes:
    """The compiled-anywhere form of `model(x)` in evaluation mode, weights included.

    Args:
      model: the network; it is not changed.
      x_shape: shape of the input, `(*batch, *spatial, in_channels)`; a word, such as "batch", in
        place of a batch axis leaves its length open.
      dtype: dtype of the input.
      platforms: what it may run on.

    Returns:
      What `load_inference` takes, in JAX's stable format (StableHLO): it needs the code of neither
      the network nor jconv.

    Raises:
      ValueError: `x_shape` does not fit the network.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jconv.models.resnet import resnet20
    >>> model = resnet20(num_classes=4, rngs=nnx.Rngs(0))
    >>> run = load_inference(export_inference(model, ("batch", 8, 8, 3)))
    >>> run(jnp.ones((2, 8, 8, 3))).shape, run(jnp.ones((5, 8, 8, 3))).shape
    ((2, 4), (5, 4))
    """
    frozen = nnx.clone(model)
    frozen.eval()
    graph, state = nnx.split(frozen)
    shape = jax.export.symbolic_shape(", ".join(map(str, x_shape)))
    with portable():
        exported = jax.export.export(
            jax.jit(lambda x: nnx.merge(graph, state)(x)), platforms=tuple(platforms)
        )(jax.ShapeDtypeStruct(shape, dtype))
    return bytes(exported.serialize())


def load_inference(data: bytes | bytearray) -> Callable[[jax.Array], jax.Array]:
    """The function that `export_inference` wrote: logits of an input of the shape given there.

    Raises:
      ValueError: `data` is damaged, or something else.
    """
    try:
        exported = jax.export.deserialize(bytearray(data))
    except Exception as error:
        raise ValueError(
            f"`data` must be what `export_inference` returned, got {len(data)} bytes that cannot "
            f"be read ({type(error).__name__}: {error})"
        ) from error
    return jax.jit(exported.call)
