"""`sweep`: what sizes, strides, dilations and depths of convolutions see, give and cost."""

import argparse
import itertools
from typing import Any

import jax
import jax.numpy as jnp

from jconv.analysis.cost import cost
from jconv.analysis.receptive_field import receptive_field
from jconv.analysis.timing import seconds
from jconv.commands.networks import by
from jconv.commands.options import integers, shape
from jconv.ops.conv import conv
from jconv.terminal import Parser, Work, checked, console, human, number, print_json, table

AXES = {"window": (3,), "stride": (1,), "dilation": (1,), "depth": (1,)}
WORDS = ("VALID", "SAME", "SAME_LOWER", "CAUSAL", "FULL")


@checked
def padding(text: str) -> str:
    if text.upper() not in WORDS:
        raise ValueError(f"must be one of {', '.join(WORDS)}, got {text!r}")
    return text.upper()


def add(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document instead")
    command.add_argument(
        "--input",
        type=shape,
        default=(32, 32, 16),
        metavar="SIZES",
        help="sizes and channels of the input, of any number of dimensions (default: 32x32x16)",
    )
    command.add_argument(
        "--batch", type=number, default=8, metavar="N", help="examples at a time (default: 8)"
    )
    command.add_argument(
        "--channels", type=number, metavar="N", help="of the output (default: as of the input)"
    )
    for name, default in AXES.items():
        command.add_argument(
            f"--{name}",
            type=integers,
            default=default,
            metavar="N,N,...",
            help="convolutions in a row, all of the same kind (default: 1)"
            if name == "depth"
            else f"of the kernel, along every axis (default: {default[0]})",
        )
    command.add_argument(
        "--padding", type=padding, default="SAME", help=f"one of {', '.join(WORDS)} (default: SAME)"
    )


def run(options: argparse.Namespace) -> int:
    values = itertools.product(*(getattr(options, name) for name in AXES))
    settings = [dict(zip(AXES, each, strict=True)) for each in values]
    work = Work(len(settings))
    work.run(lambda _: ({**each, **measured(options, **each)} for each in settings))
    asked = {"input": options.input, "batch": options.batch, "padding": options.padding}
    if options.json:
        print_json({**asked, "configurations": work.done, "interrupted": work.interrupted})
        return work.status
    rows = table(
        *(f">{name}" for name in AXES), "output", "receptive field", ">multiply-adds", ">ms"
    )
    for each in work.done:
        told = [str(each[name]) for name in AXES]
        if each["output"] is None:
            rows.add_row(*told, "no window fits", "", "", "")
            continue
        sizes = by(each["output"]), by(each["receptive_field"])
        rows.add_row(*told, *sizes, human(each["multiply_adds"]), f"{each['ms']:.3g}")
    console().print(rows)
    console().print(
        f"{len(work.done)} configurations on {by((options.batch, *options.input))}, padding "
        f"{options.padding}; multiply-adds and milliseconds of the whole batch on "
        f"{jax.devices()[0].device_kind}"
    )
    return work.status


def measured(
    options: argparse.Namespace, *, window: int, stride: int, dilation: int, depth: int
) -> dict[str, Any]:
    """What `depth` such convolutions give, see and cost; None where no window fits."""
    n, ins = len(options.input) - 1, options.input[-1]
    widths = [ins, *[options.channels or ins] * depth]
    x = jax.ShapeDtypeStruct((options.batch, *options.input), jnp.float32)
    kernels = [
        jax.ShapeDtypeStruct((*(window,) * n, *pair), jnp.float32)
        for pair in itertools.pairwise(widths)
    ]

    def convolve(x: jax.Array, *kernels: jax.Array) -> jax.Array:
        for kernel in kernels:
            x = conv(x, kernel, stride=stride, dilation=dilation, padding=options.padding)
        return x

    def seen(x: jax.Array) -> jax.Array:
        return convolve(x, *(jnp.ones(each.shape) for each in kernels))

    try:
        output = jax.eval_shape(convolve, x, *kernels).shape
    except ValueError:
        return {"output": None, "receptive_field": None, "multiply_adds": None, "ms": None}
    return {
        "output": output,
        "receptive_field": receptive_field(seen, x, n=n).size,
        "multiply_adds": cost(convolve, x, *kernels).multiply_adds,
        "ms": 1e3 * seconds(convolve, (x, *kernels)),
    }
