"""What all networks share: a frozen configuration, named features, checkpointing."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.arguments import flag, integer
from jconv.operands import as_array

# How a module is called elsewhere: a regular expression for its whole path in the network, and what
# to write instead, as in `re.sub`. The first that matches counts.
Names: TypeAlias = tuple[tuple[str, str | Callable[[Any], str]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of any network.

    Attributes:
      in_channels: channels of the input.
      num_classes: number of logits; 0 leaves the classifier out.
      dtype: what is computed in, such as `jnp.bfloat16`; None is the promoted dtype of input and
        parameters.
      param_dtype: dtype in which the parameters are stored and trained.
      checkpoint: keep only the inputs of each block for the backward pass, and compute the block
        again there: less memory, about a third more time. Heads and dense layers are kept as
        they are.
    """

    in_channels: int = 3
    num_classes: int = 1000
    dtype: Any = None
    param_dtype: Any = jnp.float32
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # a list would make the configuration unhashable
            object.__setattr__(self, field.name, _as_tuples(getattr(self, field.name)))
        integer("in_channels", self.in_channels)
        integer("num_classes", self.num_classes, 0)
        flag("checkpoint", self.checkpoint)

    @property
    def dtypes(self) -> dict[str, Any]:
        """What every layer takes."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


class Network(nnx.Module):
    """A network as a sequence of named features, of which the last is what it returns."""

    # Module paths whose last axis is the classes.
    heads: ClassVar[tuple[str, ...]] = ()
    # Module paths of convolutions that other libraries hold as dense layers.
    dense: ClassVar[tuple[str, ...]] = ()

    config: Config

    @property
    def n(self) -> int:
        """Number of spatial axes."""
        return 2

    @property
    def layouts(self) -> Mapping[str, Names]:
        """Where its weights may come from, and how its modules are called there."""
        return {}

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Every feature in the order of computation, with its name; the last is the result."""
        raise NotImplementedError

    def __call__(self, x: jax.Array) -> jax.Array:
        """`x` is `(*batch, *spatial, in_channels)`; returns the logits."""
        x = as_array("x", x)
        [(_, logits)] = deque(self.stages(x), maxlen=1)  # the others are not kept alive
        return logits

    def features(self, x: jax.Array, *names: str) -> dict[str, jax.Array]:
        """Named intermediate results, in the order of computation.

        Args:
          x: `(*batch, *spatial, in_channels)`, as the network is called.
          *names: those wanted; nothing behind the last of them is computed. None is all.

        Returns:
          Name to array, `(*batch, *spatial of the feature, channels)`, or `(*batch, channels)`
          once the spatial axes are gone. The last of all is what the network returns.

        Raises:
          ValueError: there is no feature of such a name; the message lists what there is.
        """
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"`names` must be strings, one argument for each, got {name!r}")
        found, seen = {}, []
        for name, value in self.stages(as_array("x", x)):
            seen.append(name)
            if not names or name in names:
                found[name] = value
            if names and len(found) == len(set(names)):
                return found
        if missing := sorted(set(names) - set(found)):
            raise ValueError(f"`names` must be among {seen}, got {missing[0]!r}")
        return found

    def run(self, x: jax.Array, *blocks: Callable[[jax.Array], jax.Array]) -> list[jax.Array]:
        """What each block returns, one after the other; if the configuration says so, computed
        again in the backward pass, for which only `x` is kept."""

        def chain(blocks: Sequence[Any], x: jax.Array) -> list[jax.Array]:
            results = [x]
            for block in blocks:
                results.append(block(results[-1]))
            return results[1:]

        return (nnx.remat(chain) if self.config.checkpoint else chain)(blocks, x)
