"""What a function takes: operations, parameters, memory and time, layer by layer and in all."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from jconv.analysis.liveness import live_bytes
from jconv.analysis.operations import multiply_adds, other_operations
from jconv.analysis.parts import Part, parts, whole
from jconv.analysis.program import Array, Operation, Program, flat
from jconv.analysis.table import aligned
from jconv.analysis.timing import Stopwatch, seconds
from jconv.analysis.tracing import trace
from jconv.arguments import flag, integer, is_sequence
from jconv.select import portable

PASSES = ("forward", "backward")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Amounts:
    """What a layer takes, or all of a function.

    Attributes:
      parameters: how many the layer is the first to read.
      flops: operations of convolutions and products, two for each multiply-add; taps over padding
        included, zeros between the elements of a spread input not.
      other: operations of everything else: one for each element that an elementwise operation
        computes, and for each but one of those that a sum or maximum is of; what only moves or
        converts elements has none.
      read: bytes of the arrays that the layer gets from elsewhere, each once.
      written: bytes of the arrays that others, or the caller, get from it: its activations.
      kept: bytes of those, of a forward pass, which its backward pass reads.
      peak: the most bytes that exist at a time, the arguments and results of the function included.
      seconds: measured; None where it was not.
    """

    parameters: int
    flops: int
    other: int
    read: int
    written: int
    kept: int
    peak: int
    seconds: float | None

    @property
    def multiply_adds(self) -> int:
        """Half of `flops`: what tables of networks count, often under the name of FLOPs."""
        return self.flops // 2

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: operations of all kinds for each byte read or written."""
        return (self.flops + self.other) / max(self.read + self.written, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(Amounts):
    """One layer.

    Attributes:
      name: path of the module, as in "layer1.0.conv1", or the scope, as in "encoder/attention"; for
        what is in neither, the name of the function.
      operation: the convolution, product or pool that it is, such as "conv" or "max_pool"; "other"
        where it is none.
      backward: whether it belongs to the backward pass of a gradient.
    """

    name: str
    operation: str
    backward: bool


@dataclasses.dataclass(frozen=True)
class XlaCost:
    """What XLA says of the program that it has compiled, of one device.

    Attributes:
      operations: of all kinds; taps over padding have none.
      bytes: read and written by what is left after fusion.
      peak: bytes of arguments, results and temporaries.
    """

    operations: int
    bytes: int
    peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost(Amounts):
    """What a function takes: the sums of its rows, but for what is said here; printed, a table.

    Attributes:
      parameters: how many there are, also those that nothing reads.
      peak: the largest of the rows.
      seconds: of the function as a whole.
      rows: one for each layer, in the order of computation.
      uncounted: operations whose arithmetic is not known, which is missing in `other`.
      device: what was measured on.
      xla: XLA's own count, if it was asked for.
    """

    rows: tuple[Row, ...]
    uncounted: tuple[str, ...]
    device: str | None
    xla: XlaCost | None

    def __str__(self) -> str:
        hidden = set()
        if not any(row.backward for row in self.rows):
            hidden |= {"pass", "kept"}
        if self.seconds is None:
            hidden.add("ms")
        lines = [_cells(row, row.name, row.operation, PASSES[row.backward]) for row in self.rows]
        lines.append(_cells(self, "total"))
        titles = [title for title in lines[0] if title not in hidden]
        words = sum(title in titles for title in ("layer", "operation", "pass"))
        text = aligned(
            [titles, *([line[title] for title in titles] for line in lines)],
            numbers=range(words, len(titles)),
        )
        if self.device:
            text += f"\nmeasured on {self.device}"
        if self.uncounted:
            text += f"\nnot counted: {', '.join(self.uncounted)}"
        if self.xla:
            text += (
                f"\nXLA: {self.xla.operations:,} operations, {self.xla.bytes:,} bytes read and "
                f"written, {self.xla.peak:,} at the peak"
            )
        return text


def _cells(amounts: Amounts, layer: str, operation: str = "", of: str = "") -> dict[str, str]:
    """A line of the table, by the titles of its columns."""
    counts = {
        "parameters": amounts.parameters,
        "multiply-adds": amounts.multiply_adds,
        "other": amounts.other,
        "read": amounts.read,
        "written": amounts.written,
        "kept": amounts.kept,
        "peak": amounts.peak,
    }
    return {
        "layer": layer,
        "operation": operation,
        "pass": of,
        **{title: f"{count:,}" for title, count in counts.items()},
        "per byte": f"{amounts.intensity:.1f}",
        "ms": "" if amounts.seconds is None else f"{1e3 * amounts.seconds:.3f}",
    }


def cost(
    fn: Callable[..., Any],
    *args: Any,
    parameters: int | Sequence[int] = (),
    measure: bool = False,
    xla: bool = False,
) -> Cost:
    """What `fn(*args)` takes, layer by layer: operations, parameters, memory and, if asked, time.

    `fn` is traced, and computed only to be measured, so arrays may be `jax.ShapeDtypeStruct`s, and
    models made under `nnx.eval_shape`. What the results do not need does not count, as XLA does not
    compute it.

    A layer is a convolution, a product or a pool, together with the operations around it in its
    scope; what else a scope does is one more. Scopes are the modules of NNX models, which are `fn`
    or among `args`, and those of `jax.named_scope`, which Flax Linen, Haiku and Equinox set. In a
    gradient, the forward and the backward pass have layers of their own, and what `checkpoint`
    computes again belongs to the backward pass.

    A `scan` counts as often as it is long, a `while`, whose laps are not known, once, a `cond` as
    its dearest branch, and a `shard_map` on all of its devices.

    The peak is that of the arrays as the program has them: arguments exist all the time, results
    from where they are made, all others until they are last read; reshapes and broadcasts take no
    memory. XLA fuses operations, which takes less, and may prefer other layouts, which takes more.

    Args:
      fn: any function of arrays, or a model; a gradient or a whole training step, too.
      *args: its arguments. The arrays in them, and NNX models, are traced; all else `fn` gets as it
        is.
      parameters: positions in `args` of what holds parameters: the floats in it. Those of NNX
        models are known, and those of `fn` if it is a pytree, as a model of Equinox is.
      measure: whether to compute `fn`, and each layer alone, and tell the median time of ten calls
        after the first. Ones stand for what is only a shape, and for what layers get from others.
        A layer in a loop is computed once and counts for all laps; inside a `shard_map` it cannot
        be. Some ten microseconds of each time are those of a call.
      xla: whether to compile `fn` for XLA's own count, by `jconv.portable()`, since XLA does not
        see into what other libraries compute.

    Returns:
      A `Cost`: `print` it, or read its rows.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; what `fn`
        raises while it is traced.

    >>> import jax, jax.numpy as jnp, jconv
    >>> def network(x, kernel, matrix):
    ...     with jax.named_scope("stem"):
    ...         x = jconv.max_pool(jax.nn.relu(jconv.conv(x, kernel, padding=1)), 2)
    ...     return x.mean((1, 2)) @ matrix
    >>> shapes = (1, 8, 8, 3), (3, 3, 3, 4), (4, 10)
    >>> arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    >>> print(cost(network, *arrays, parameters=(1, 2)))
    layer    operation  parameters  multiply-adds  other   read  written   peak  per byte
    stem     conv              108          6,912    256  1,200    1,024  3,408       6.3
    stem     max_pool            0              0    192  1,024      256  2,640       0.1
    network  product            40             40     64    416       40  1,632       0.3
    total                      148          6,952    512  2,640    1,320  3,408       3.6
    """
    if not callable(fn):
        raise TypeError(
            f"`fn` must be a function or a model, got {type(fn).__name__}; pass what is called, "
            "and then its arguments, as in `cost(fn, x)`"
        )
    positions = tuple(parameters) if is_sequence(parameters) else (parameters,)
    if any(integer("parameters", each, 0) >= len(args) for each in positions):
        raise ValueError(
            f"`parameters` must be positions in the {len(args)} arguments of `fn`, the first of "
            f"which is 0, got {parameters!r}"
        )
    flag("measure", measure)
    flag("xla", xla)
    traced = trace(fn, args, positions)
    program = flat(traced.closed, lambda each: _flops(each) + _other(each))
    owned = [array for array, own in zip(program.inputs, traced.parameters, strict=True) if own]
    name = getattr(fn, "__name__", type(fn).__name__)
    layers = parts(program, name, traced.modules)
    rows = tuple(_rows(program, layers, owned, Stopwatch() if measure else None))
    function = jaxpr_as_fun(traced.closed)
    summed = ("flops", "other", "read", "written", "kept")
    unknown = (each.eqn for each in program.operations if other_operations(each.eqn) is None)
    return Cost(
        **{amount: sum(getattr(row, amount) for row in rows) for amount in summed},
        parameters=_elements(owned),
        peak=max((row.peak for row in rows), default=sum(each.bytes for each in program.inputs)),
        seconds=seconds(function, traced.arrays) if measure else None,
        rows=rows,
        uncounted=tuple(sorted({eqn.primitive.name for eqn in unknown})),
        device=jax.devices()[0].device_kind if measure else None,
        xla=_compiled(function, traced.arrays) if xla else None,
    )


def _rows(
    program: Program, layers: Sequence[Part], owned: Sequence[Array], watch: Stopwatch | None
) -> Iterator[Row]:
    live, left = live_bytes(program), set(owned)
    for part in layers:
        first = left & {whole(array) for array in part.reads}
        left -= first
        laps = part.loop.times
        time = None
        if watch and not part.loop.sharded:
            time = laps * watch.seconds(part.operations, part.reads, part.writes)
        yield Row(
            name=part.name,
            operation=part.operation,
            backward=part.backward,
            parameters=_elements(first),
            flops=sum(map(_flops, part.operations)),
            other=sum(map(_other, part.operations)),
            read=laps * sum(array.bytes for array in {each.memory for each in part.reads}),
            written=laps * sum(array.bytes for array in part.writes),
            kept=part.kept,
            peak=max(live[each] for each in part.operations),
            seconds=time,
        )


def _elements(arrays: Iterable[Array]) -> int:
    return sum(int(array.aval.size) for array in arrays)


def _flops(operation: Operation) -> int:
    return 2 * multiply_adds(operation.eqn) * operation.loop.times * operation.loop.copies


def _other(operation: Operation) -> int:
    count = other_operations(operation.eqn) or 0
    return count * operation.loop.times * operation.loop.copies


def _compiled(fn: Callable[..., Any], arrays: Sequence[Any]) -> XlaCost:
    with portable():
        compiled = jax.jit(fn).lower(*arrays).compile()
    counts: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return XlaCost(
        operations=int(counts["flops"]),
        bytes=int(counts["bytes accessed"]),
        peak=held + memory.temp_size_in_bytes - memory.alias_size_in_bytes,
    )
