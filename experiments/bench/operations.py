r"""How long do convolutions take in jconv, beside plain `jax.lax` and PyTorch?

    pip install torch==2.13.0
    python experiments/bench/operations.py --out experiments/bench/operations.md
    python experiments/bench/operations.py --random 60 --seed 5 \
        --out experiments/bench/operations_unseen.md

Expected: five minutes each on 2 cores. Result: the tables, and a plot of each, beside this file.

Forward, and forward with the gradients of both operands, of the convolutions in
`jconv.workloads.CONTEST` (`--all`: of further networks too; `--random 20 --seed 1`: of 20 that
nobody tuned for). First it is checked that all compute the same numbers. `lax` is
`conv_general_dilated` on channels last, which `lhs_dilation` makes a transposed convolution, and
its own gradients; "portable" is jconv of XLA's public operations alone.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import contest
import jax
import jax.numpy as jnp
import numpy as np
from contest import Contender, Ratio, Result, torch
from jax import lax

import jconv
from jconv import workloads
from jconv.workloads import Workload

LAYOUTS = ("channels first", "channels last")
RATIOS = (
    Ratio("jconv / PyTorch", "jconv", tuple(f"PyTorch {layout}" for layout in LAYOUTS)),
    Ratio("jconv / lax", "jconv", ("lax",)),
    Ratio("portable / lax", "jconv portable", ("lax",)),
)
WHATS = ("forward", "forward and gradients")


class Operations(NamedTuple):
    """Operations of one kind, and how others compute a workload of theirs."""

    title: str
    names: tuple[str, ...]
    tiny: tuple[str, ...]  # workloads of `--tiny`
    in_lax: Callable[..., jax.Array]  # of the workload and arrays
    in_torch: Callable[..., Any]  # of the workload and tensors


# --- Convolutions ---------------------------------------------------------------------------------


def in_lax(workload: Workload, x: jax.Array, kernel: jax.Array) -> jax.Array:
    n = workload.n
    spatial = "DHW"[3 - n :]
    if workload.operation == "conv":
        return lax.conv_general_dilated(
            x,
            kernel,
            workload.stride,
            [(pad, pad) for pad in workload.padding],
            rhs_dilation=workload.dilation,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
            feature_group_count=workload.groups,
        )
    if workload.groups > 1:
        raise ValueError(f"`workload` must have one group to be transposed by lax, got {workload}")
    reach = [by * (taps - 1) for by, taps in zip(workload.dilation, workload.window, strict=True)]
    sides = zip(reach, workload.padding, workload.output_padding, strict=True)
    return lax.conv_general_dilated(
        x,
        jnp.flip(kernel, range(n)),
        (1,) * n,
        [(low - pad, low - pad + more) for low, pad, more in sides],
        lhs_dilation=workload.stride,
        rhs_dilation=workload.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}OI", f"N{spatial}C"),
    )


def in_torch(workload: Workload, x: Any, kernel: Any) -> Any:
    settings = {
        "stride": workload.stride,
        "padding": workload.padding,
        "dilation": workload.dilation,
        "groups": workload.groups,
    }
    if workload.operation == "conv_transpose":
        settings["output_padding"] = workload.output_padding
    function = getattr(torch.nn.functional, f"{workload.operation}{workload.n}d")
    return function(x, kernel, **settings)


CONVOLUTIONS = Operations(
    "Convolutions: jconv beside others",
    names=("conv", "conv_transpose"),
    tiny=("digits", "DCGAN first", "odd 33, 5 channels"),
    in_lax=in_lax,
    in_torch=in_torch,
)

# --- The comparison -------------------------------------------------------------------------------


def compare(
    workload: Workload, operations: Operations, what: str, options: argparse.Namespace
) -> Result:
    rng = np.random.default_rng(0)
    shapes = [*workload.specs(), jax.eval_shape(workload, *workload.specs())]
    *arrays, ct = (rng.standard_normal(each.shape, np.float32) for each in shapes)
    # Weights as in a network: sums of many products stay of order one.
    arrays[1:] = [kernel / math.sqrt(kernel[..., 0].size) for kernel in arrays[1:]]
    operands = [jnp.asarray(each, options.dtype) for each in (*arrays, ct)]

    def contender(forward: Callable[..., jax.Array]) -> Contender:
        def both(*operands: jax.Array) -> Any:
            y, vjp = jax.vjp(forward, *operands[:-1])
            return y, *vjp(operands[-1])

        alone = what == "forward"
        return contest.jax_contender(
            (lambda *operands: (forward(*operands[:-1]),)) if alone else both, *operands
        )

    contenders = {"lax": contender(partial(operations.in_lax, workload))}
    contenders["jconv"] = contender(workload)
    with jconv.portable():
        contenders["jconv portable"] = contender(workload)
    if torch is not None:
        compute = partial(operations.in_torch, workload)
        for layout in LAYOUTS if workload.n > 1 else LAYOUTS[:1]:
            tensors = [
                contest.to_torch(array, layout, options.dtype, kernel=i == 1)
                for i, array in enumerate(arrays)
            ]
            cotangent = contest.to_torch(ct, layout, options.dtype)
            contenders[f"PyTorch {layout}"] = torch_contender(compute, tensors, cotangent, what)
    tolerance = {"bfloat16": 5e-2, "float32": contest.TOLERANCE}[options.dtype]
    return contest.measure(
        workload.name, str(workload), what, contenders, options.rounds, tolerance
    )


def torch_contender(
    forward: Callable[..., Any], tensors: list[Any], cotangent: Any, what: str
) -> Contender:
    def alone() -> Any:
        with torch.inference_mode():
            return (forward(*tensors),)

    def both() -> Any:
        y = forward(*tensors)
        return y, *torch.autograd.grad(y, tensors, cotangent)

    def arrays(results: Sequence[Any]) -> list[np.ndarray]:
        return [contest.from_torch(each, kernel=i == 2) for i, each in enumerate(results)]

    if what == "forward":
        return contest.torch_contender(alone, arrays)
    for tensor in tensors:
        tensor.requires_grad_()
    return contest.torch_contender(both, arrays)


def chosen(operations: Operations, options: argparse.Namespace) -> list[Workload]:
    """The workloads that the options ask for."""
    source = workloads.WORKLOADS if options.all or options.only else workloads.CONTEST
    if options.tiny:
        source = tuple(workloads.find(name) for name in operations.tiny)
    if options.random:
        source = workloads.draw(options.seed, 20 * options.random)
    ours = [each for each in source if each.operation in operations.names]
    return [each for each in ours if options.only in each.name][: options.random or None]


def main(operations: Operations, doc: str | None) -> None:
    parser = contest.parser(doc)
    parser.add_argument("--all", action="store_true", help="further layers of networks too")
    parser.add_argument("--random", type=int, default=0, metavar="K", help="K random ones instead")
    parser.add_argument("--seed", type=int, default=0, help="of --random")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    cases = (
        (f"{each.name}, {what}", partial(compare, each, operations, what, options))
        for each in chosen(operations, options)
        for what in WHATS
    )
    results = contest.run(cases, RATIOS)
    precision = contest.TF32 if options.dtype == "float32" else ""
    notes = f"{options.dtype}{precision}. Medians. PyTorch in the faster of its two layouts."
    contest.report(results, RATIOS, options, title=operations.title, notes=notes)


if __name__ == "__main__":
    main(CONVOLUTIONS, __doc__)
