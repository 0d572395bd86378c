"""What a network is made of: layers, shapes, parameters, operations, receptive fields."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import JaxprEqn

from jconv.analysis.fields import CannotTell
from jconv.analysis.operations import multiply_adds, word
from jconv.analysis.receptive_field import measure, spatial_axes
from jconv.analysis.rules import shape_of
from jconv.analysis.table import aligned
from jconv.analysis.walk import State, Step, Value, picture, walk
from jconv.arguments import is_sequence

Path: TypeAlias = tuple[Any, ...]

LOOPS = ("scan", "while", "cond")


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
      name: path of the module, as in "layer1.0.conv1.conv", or a word such as "max_pool" for what
        has no parameters.
      kind: class of the module; "convolution", "product" or "pool" for what belongs to none.
      output_shape: shape of the layer's output, batch axes included; None if it is not used.
      parameters: how many the module has, those of inner modules not included; 0 in further rows of
        a module that is used again.
      flops: operations of its convolutions and products, two for each multiply-add; taps over
        padding included, as in `Geometry.flops`.
      receptive_field: of the output, for each spatial axis: its size in positions of the picture,
        "all" where every output covers the picture, "?" where it cannot be told. See
        `receptive_field`.
      stride: how far that moves from one output to the next; None where it covers the picture.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    flops: int
    receptive_field: tuple[int | str, ...]
    stride: tuple[int | float | str | None, ...]


@dataclasses.dataclass(frozen=True)
class Summary:
    """A network's layers in the order of computation, and their totals; `print` it for a table.

    Attributes:
      rows: one for each layer.
      parameters: how many the network has, each counted once; the sum of the rows.
      flops: operations of one call on the whole batch; the sum of the rows.
    """

    rows: tuple[Row, ...]
    parameters: int
    flops: int

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "flops", "field", "stride")
        table = [
            (
                row.name,
                row.kind,
                _by(row.output_shape),
                f"{row.parameters:,}",
                f"{row.flops:,}",
                _by(row.receptive_field),
                _by(each for each in row.stride if each is not None),
            )
            for row in self.rows
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.flops:,}", "", "")
        return aligned([head, *table, total], numbers=(3, 4))


def summarize(
    model: nnx.Module, x: Any, *, n: int | None = None, data_format: str = "channels_last"
) -> Summary:
    """The layers of any Flax NNX model, of jconv's, Flax's or others' modules, in evaluation.

    Nothing is computed: the model is traced on shapes, so it may be one of shapes itself, made
    under `nnx.eval_shape`. It is not changed, and a copy is switched to evaluation.

    A row is a module with parameters of its own, where they meet the data, and each pool,
    convolution or product which has none. In a loop (`nnx.scan`) a layer has one row, with the
    operations of all laps; of a `while`, whose laps are not known, those of one, and of a `cond`
    those of all branches.

    Args:
      model: a module that is called with one array.
      x: its input, `(*batch, *spatial, channels)`: an array, a `jax.ShapeDtypeStruct`, or a shape
        alone, which is one of float32.
      n: number of spatial axes; None (default) is all but a batch axis and the channels.
      data_format: "channels_last" or "channels_first".

    Returns:
      A `Summary`: `print` it, or read its rows.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; what the
        model raises on such an input.

    >>> from jconv.models.layers import Conv
    >>> model = nnx.Sequential(
    ...     Conv(3, 8, 3, n=2, padding=1, rngs=nnx.Rngs(0)),
    ...     nnx.relu,
    ...     nnx.Linear(8, 2, rngs=nnx.Rngs(0)),
    ... )
    >>> print(summarize(model, (1, 8, 8, 3)))
    layer     kind    output   parameters   flops  field  stride
    layers.0  Conv    1x8x8x8         224  27,648  3x3    1x1
    layers.2  Linear  1x8x8x2          18   2,048  3x3    1x1
    total                             242  29,696
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"`model` must be a Flax NNX module, got {type(model).__name__}; for a function, see "
            "`receptive_field` and `cost`"
        )
    if is_sequence(x) and not hasattr(x, "dtype"):
        x = jax.ShapeDtypeStruct(tuple(x), jnp.float32)
    axes, size = spatial_axes(x, n, data_format)
    evaluated = nnx.merge(*nnx.split(model))
    evaluated.eval()
    graphdef, state = nnx.split(evaluated)
    flat = nnx.to_flat_state(state)
    paths, variables = [path for path, _ in flat], [variable for _, variable in flat]

    def call(variables: Sequence[Any], x: jax.Array) -> Any:
        pairs = list(zip(paths, variables, strict=True))
        return nnx.merge(graphdef, nnx.from_flat_state(pairs))(x)

    layers = _Layers(model, paths, variables)
    arguments = [
        Value((None,) * len(axes), origins=frozenset({i} if layers.owners[i] is not None else ()))
        for i, variable in enumerate(variables)
        for _ in jax.tree.leaves(variable)
    ]
    arguments.append(picture(len(x.shape), axes, size))
    for step in walk(jax.make_jaxpr(call)(variables, x), arguments):
        layers.add(step)
    rows = tuple(layers.rows(size))
    return Summary(rows, sum(row.parameters for row in rows), sum(row.flops for row in rows))


@dataclasses.dataclass(eq=False)
class _Layer:
    """A row in the making: `output` is the last array that belongs to it, `used` the variables
    which have met the data."""

    name: str
    kind: str
    parameters: int = 0
    flops: int = 0
    used: set[int] = dataclasses.field(default_factory=set)
    shape: tuple[int, ...] | None = None
    output: Value | None = None


class _Layers:
    """Gathers the steps of a program into layers: by whose variables meet the data in them."""

    def __init__(self, model: nnx.Module, paths: Sequence[Path], variables: Sequence[Any]) -> None:
        containers = (nnx.List, nnx.Dict)
        self.kinds = {
            path: type(node).__name__
            for path, node in nnx.iter_graph(model)
            if isinstance(node, nnx.Module) and not isinstance(node, containers)
        }
        # The module that each variable belongs to; random keys make no layer.
        self.owners: list[Path | None] = [
            None if isinstance(variable, nnx.RngState) else self._module(path[:-1])
            for path, variable in zip(paths, variables, strict=True)
        ]
        # Parameters that no row has counted so far.
        self.left = {
            i: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variable))
            for i, variable in enumerate(variables)
            if isinstance(variable, nnx.Param)
        }
        self.layers: list[_Layer] = []
        self.latest: dict[Path, _Layer] = {}
        self.tails: dict[Value, _Layer] = {}

    def add(self, step: Step) -> None:
        """Gives the step to the layer that it belongs to, if any."""
        name = step.eqn.primitive.name
        data = [each for each in step.inputs if each.origins is None]
        met = frozenset[int]().union(*(each.origins for each in step.inputs if each.origins))
        if not data or name in LOOPS:
            return
        layer, words = self.tails.get(data[0]), word(step.eqn)
        if met:
            layer = self._owner(met)
        elif words:
            layer = self._new(*words)
        elif layer and layer.name == "sum_pool" and name in ("div", "mul") and len(data) == 1:
            layer.name = "avg_pool"
        elif layer is None or not _only_layout(step.eqn):
            return
        layer.flops += 2 * step.times * multiply_adds(step.eqn)
        layer.shape, layer.output = shape_of(step.eqn.outvars[0]), step.outputs[0]
        self.tails[step.outputs[0]] = layer

    def _new(self, name: str, kind: str) -> _Layer:
        self.layers.append(_Layer(name, kind))
        return self.layers[-1]

    def _owner(self, met: frozenset[int]) -> _Layer:
        """The layer whose variables have `met` the data; if they have before, it is used again."""
        path = self._common([self.owners[i] or () for i in met])
        layer = self.latest.get(path)
        if layer is None or layer.used & met:
            layer = self.latest[path] = self._new(self._name(path), self.kinds[path])
        layer.used |= met
        own = {i for i, owner in enumerate(self.owners) if owner == path}
        layer.parameters += sum(self.left.pop(i, 0) for i in met | own)
        return layer

    def _common(self, paths: Sequence[Path]) -> Path:
        """The innermost module that holds all of `paths`."""
        shared = paths[0]
        while any(path[: len(shared)] != shared for path in paths):
            shared = shared[:-1]
        return self._module(shared)

    def _module(self, path: Path) -> Path:
        while path not in self.kinds:
            path = path[:-1]
        return path

    def _name(self, path: Path) -> str:
        return ".".join(map(str, path)) or self.kinds[()]

    def rows(self, size: Sequence[int]) -> Iterator[Row]:
        """The layers in order, and then those of which nothing met the data."""
        for layer in self.layers:
            assert layer.output is not None
            fields = zip(*map(_field, layer.output.seen, size), strict=True)
            sizes, strides = fields if size else ((), ())
            yield Row(
                layer.name, layer.kind, layer.shape, layer.parameters, layer.flops, sizes, strides
            )
        unused: dict[Path, int] = {}
        for i, count in self.left.items():
            path = self.owners[i] or ()
            unused[path] = unused.get(path, 0) + count
        for path, count in unused.items():
            yield Row(self._name(path), self.kinds[path], None, count, 0, (), ())


def _only_layout(eqn: JaxprEqn) -> bool:
    """Whether an array only comes into the layout of the user, who has other batch axes."""
    name = eqn.primitive.name
    if name == "reshape":
        rest = shape_of(eqn.invars[0])[1:]
        return eqn.params["new_sizes"][-len(rest) :] == rest
    if name == "squeeze":
        return eqn.params["dimensions"] == (0,)
    return name in ("convert_element_type", "transpose")


def _field(state: State, length: int) -> tuple[int | str, int | float | str | None]:
    """Size and stride of a receptive field as a row has them."""
    try:
        size, stride, _, covers = measure(state, length)
    except CannotTell:
        return "?", "?"
    if covers or size == 0:
        return ("all" if covers else 0), None
    plain = float(stride) if isinstance(stride, Fraction) else stride
    return ("?" if size is None else size), ("?" if plain is None else plain)


def _by(sizes: Iterable[Any] | None) -> str:
    """A shape or field in words."""
    return "x".join(map(str, sizes or ()))
