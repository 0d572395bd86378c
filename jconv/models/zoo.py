"""Every network by its name."""

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from flax import nnx

from jconv.models.network import Config, Network

N = TypeVar("N", bound=Network)

# Complete once `jconv.models` is imported, which loads all networks.
NETWORKS: dict[str, Callable[..., Network]] = {}


def builder(
    name: str, network: Callable[..., N], config: Callable[..., Config], **settings: Any
) -> Callable[..., N]:
    """A function `name(*, rngs, **options)` that makes `network` with `settings`, of which, and of
    all else in `config`, `options` may change any."""

    def build(*, rngs: nnx.Rngs, **options: Any) -> N:
        return network(config(**{**settings, **options}), rngs=rngs)

    build.__name__ = build.__qualname__ = name
    build.__module__ = network.__module__
    listed = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    build.__doc__ = (
        f"{network.__name__} with {listed}.\n\n"
        "Args:\n"
        "  rngs: source of the random keys, for the parameters, and later for dropout.\n"
        f"  **options: any of `{config.__name__}`, such as `num_classes` or `dtype`.\n\n"
        "Returns:\n"
        "  The network, in training mode; `model.eval()` before inference."
    )
    NETWORKS[name] = build
    return build


def network(name: str) -> Callable[..., Network]:
    """The function that builds the network of this name.

    Raises:
      ValueError: there is none; the message has the nearest names.

    >>> network("resnet18").__name__
    'resnet18'
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"`name` must be one of {', '.join(NETWORKS)}, got {name!r}{hint}")
    return NETWORKS[name]
