"""What does `vmap` cost in convolutions, and what do gradients for each example cost?

    pip install torch==2.13.0
    python experiments/bench/vmap.py --out experiments/bench/vmap.md

Expected: three minutes on 2 cores. Result: vmap.md and vmap.png beside this file.

Sixteen convolutions of 8 pictures of 32x32, 16 to 32 channels, 3x3: mapped over their kernels, over
their inputs and over both, by `jax.vmap` and by a Python loop in the same program; forward, and
forward with gradients. Then the gradients of a small network for each of 32 examples, by
`vmap(grad)` of jconv, of `jax.lax` and of PyTorch. First it is checked that all compute the same.
"""

import argparse
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import contest
import jax
import jax.numpy as jnp
import numpy as np
from contest import Contender, Ratio, Result
from jax import lax

import jconv

RATIOS = (
    Ratio("jconv / lax", "jconv", ("lax",)),
    Ratio("jconv / its loop", "jconv", ("jconv loop",)),
    Ratio("jconv / PyTorch", "jconv", ("PyTorch",)),
)
MAPPED = {"over kernels": (None, 0), "over inputs": (0, None), "over both": (0, 0)}
WHATS = ("forward", "forward and gradients")
WIDTHS = (1, 16, 32, 32)  # channels of the network
CLASSES = 10
EACH = "a gradient for each example"

Conv = Callable[[jax.Array, jax.Array], jax.Array]


def in_jconv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jconv.conv(x, kernel, padding="SAME")


def in_lax(x: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# --- Mapped convolutions --------------------------------------------------------------------------


def looped(conv: Conv, dims: tuple[int | None, ...]) -> Conv:
    """What `jax.vmap(conv, dims)` computes, one after the other."""

    def run(*operands: jax.Array) -> jax.Array:
        count = next(each.shape[0] for each, dim in zip(operands, dims, strict=True) if dim == 0)
        return jnp.stack(
            [
                conv(*(a if dim is None else a[i] for a, dim in zip(operands, dims, strict=True)))
                for i in range(count)
            ]
        )

    return run


def mapped(name: str, what: str, options: argparse.Namespace) -> Result:
    dims = MAPPED[name]
    count, batch, size = (3, 2, 8) if options.tiny else (16, 8, 32)
    shapes = [(batch, size, size, 16), (3, 3, 16, 32), (count, batch, size, size, 32)]
    full = [(count, *s) if dim == 0 else s for s, dim in zip(shapes, dims, strict=False)]
    operands = [jnp.asarray(normal(*shape)) for shape in (*full, shapes[-1])]

    def fun(forward: Conv) -> Callable[..., Any]:
        def both(x: jax.Array, kernel: jax.Array, ct: jax.Array) -> Any:
            y, vjp = jax.vjp(forward, x, kernel)
            return y, *vjp(ct)

        return both if what != "forward" else lambda x, kernel, ct: (forward(x, kernel),)

    forwards = {
        "lax": jax.vmap(in_lax, dims),
        "lax loop": looped(in_lax, dims),
        "jconv": jax.vmap(in_jconv, dims),
        "jconv loop": looped(in_jconv, dims),
    }
    contenders = {
        key: contest.jax_contender(fun(forward), *operands) for key, forward in forwards.items()
    }
    detail = f"{count} times {batch}x{size}x{size}x16 > 32, 3x3"
    return contest.measure(name, detail, what, contenders, options.rounds)


# --- Gradients for each example -------------------------------------------------------------------


def parameters() -> list[np.ndarray]:
    """Three kernels, then the matrix behind the mean over all places."""
    kernels = [
        normal(3, 3, ins, outs, seed=i) / math.sqrt(9 * ins)
        for i, (ins, outs) in enumerate(itertools.pairwise(WIDTHS))
    ]
    return [*kernels, normal(WIDTHS[-1], CLASSES) / math.sqrt(WIDTHS[-1])]


def jax_loss(conv: Conv, weights: list[jax.Array], x: jax.Array, label: jax.Array) -> jax.Array:
    """Cross-entropy of one example (size, size, 1)."""
    x = x[None]
    for kernel in weights[:-1]:
        x = jax.nn.relu(conv(x, kernel))
    return -jax.nn.log_softmax(x.mean((0, 1, 2)) @ weights[-1])[label]


def torch_gradients(weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray) -> Contender:
    torch = contest.torch
    functional = torch.nn.functional

    def loss(weights: list[Any], x: Any, label: Any) -> Any:
        x = x[None]
        for kernel in weights[:-1]:
            x = functional.relu(functional.conv2d(x, kernel, padding=1))
        return functional.cross_entropy(x.mean((2, 3)) @ weights[-1], label[None])

    usual = ("channels first", "float32")
    tensors = [contest.to_torch(kernel, *usual, kernel=True) for kernel in weights]
    tensors[-1] = torch.tensor(weights[-1], device=contest.DEVICE)
    images = contest.to_torch(x, *usual)
    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def arrays(results: list[Any]) -> list[np.ndarray]:
        found = [each.detach().cpu().numpy() for each in results]
        return [*(np.moveaxis(each, (1, 2), (-1, -2)) for each in found[:-1]), found[-1]]

    classes = torch.tensor(labels, dtype=torch.long, device=contest.DEVICE)
    return contest.torch_contender(lambda: gradients(tensors, images, classes), arrays)


def per_example(options: argparse.Namespace) -> Result:
    batch, size = (4, 8) if options.tiny else (32, 28)
    weights, x = parameters(), normal(batch, size, size, 1)
    labels = np.arange(batch, dtype=np.int32) % CLASSES
    contenders = {}
    for name, conv in (("lax", in_lax), ("jconv", in_jconv)):
        gradients = jax.vmap(jax.grad(functools.partial(jax_loss, conv)), (None, 0, 0))
        operands = ([jnp.asarray(each) for each in weights], jnp.asarray(x), jnp.asarray(labels))
        contenders[name] = contest.jax_contender(gradients, *operands)
    if contest.torch is not None:
        contenders["PyTorch"] = torch_gradients(weights, x, labels)
    detail = f"{batch}x{size}x{size}x1, 3 convolutions to {WIDTHS[-1]} channels"
    return contest.measure(EACH, detail, "vmap(grad)", contenders, options.rounds)


def cases(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Result]]]:
    for name in MAPPED:
        for what in WHATS:
            yield f"{name}, {what}", functools.partial(mapped, name, what, options)
    yield EACH, functools.partial(per_example, options)


def main() -> None:
    options = contest.parser(__doc__).parse_args()
    results = contest.run((case for case in cases(options) if options.only in case[0]), RATIOS)
    notes = f"float32{contest.TF32}. Medians. PyTorch's own `vmap`, channels first."
    contest.report(results, RATIOS, options, title="Convolutions under vmap", notes=notes)


if __name__ == "__main__":
    main()
