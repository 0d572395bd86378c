"""What do configurations that are data cost, beside static ones?

    python experiments/bench/sweep.py --out experiments/bench/sweep.md

Expected: two minutes on 2 cores. Result: sweep.md and sweep.png beside this file.

Convolutions of 64 pictures with 16 channels, in all sizes, dilations and strides of a list: static
ones in one program, one after the other; `jax.vmap` over the configurations with each kind of
window compiled by itself; and the same tap by tap, as windows are computed whose kinds are not
known. The same for a single canvas of the largest window whose other taps are zero, which is what
there is without `jconv.sweep`. First it is checked that all compute the same.
"""

import argparse
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import contest
import jax
import jax.numpy as jnp
import numpy as np
from contest import Ratio, Result

import jconv
from jconv import sweep

STATIC, KINDS, TAPS, CANVAS = "static", "vmap by kinds", "vmap tap by tap", "vmap of the largest"
RATIOS = (
    Ratio("by kinds / static", KINDS, (STATIC,)),
    Ratio("tap by tap / by kinds", TAPS, (KINDS,)),
    Ratio("by kinds / the largest", KINDS, (CANVAS,)),
)
WHATS = ("forward", "forward and gradients")
LISTS = {
    "sizes": {"window": (1, 3, 5, 7)},
    "sizes and dilations": {"window": (3, 5), "dilation": (1, 2, 3)},
    "sizes and strides": {"window": (3, 5, 7), "stride": (1, 2)},
    "all": {"window": (3, 5, 7), "dilation": (1, 2), "stride": (1, 2)},
}


def spread(kernel: jax.Array, options: dict[str, Any], extent: int) -> jax.Array:
    """The taps of a static kernel in a canvas that holds the largest window, dilated."""
    (window, _), (dilation, _) = options["window"], options["dilation"]
    span = dilation * (window - 1) + 1
    before = (extent - 1) // 2 - (span - 1) // 2
    taps = slice(before, before + span, dilation)
    return jnp.zeros((extent, extent, *kernel.shape[2:])).at[taps, taps].set(kernel)


def measured(name: str, size: int, what: str, options: argparse.Namespace) -> Result:
    batch, channels = (2, 2) if options.tiny else (64, 16)
    configurations = sweep.product(**LISTS[name], padding="SAME", n=2)
    count, bounds = len(configurations), configurations.bounds
    by_taps = dataclasses.replace(configurations, bounds=dataclasses.replace(bounds, kinds=()))
    static = [configurations[i].static() for i in range(count)]
    numbers = np.random.default_rng(0)
    x = jnp.asarray(numbers.standard_normal((count, batch, size, size, channels), np.float32))
    kernel = jnp.asarray(
        numbers.standard_normal((count, *bounds.window, channels, channels), np.float32)
    )

    def one_by_one(x: jax.Array, kernel: jax.Array) -> list[jax.Array]:
        results = []
        for i, each in enumerate(static):
            rest = {key: value for key, value in each.items() if key != "window"}
            taps = kernel[i][tuple(map(slice, each["window"]))]
            results.append(jconv.conv(x[i], taps, **rest))
        return results

    def swept(configurations: sweep.Configuration) -> Callable[..., list[jax.Array]]:
        def run(x: jax.Array, kernel: jax.Array) -> list[jax.Array]:
            values = jax.vmap(sweep.conv)(x, kernel, configurations).values
            return cut(values)

        return run

    def cut(values: jax.Array) -> list[jax.Array]:
        outs = (-(-size // each["stride"][0]) for each in static)
        return [values[i, :, :out, :out] for i, out in enumerate(outs)]

    def largest(x: jax.Array, kernel: jax.Array) -> list[jax.Array]:
        """Every window in the canvas of the largest, at stride 1; then the positions selected."""
        (extent, _) = bounds.extent
        canvases = jnp.stack(
            [
                spread(kernel[i][tuple(map(slice, each["window"]))], each, extent)
                for i, each in enumerate(static)
            ]
        )
        values = jax.vmap(functools.partial(jconv.conv, padding="SAME"))(x, canvases)
        results = []
        for i, each in enumerate(static):
            (stride, _), (window, _), (dilation, _) = (
                each[key] for key in ("stride", "window", "dilation")
            )
            out, span = -(-size // stride), dilation * (window - 1)
            # Where "SAME" lets the first window begin.
            shift = span // 2 - max((out - 1) * stride + span + 1 - size, 0) // 2
            results.append(values[i, :, shift::stride, shift::stride])
        return results

    def fun(forward: Callable[..., list[jax.Array]]) -> Callable[..., Any]:
        def both(x: jax.Array, kernel: jax.Array) -> Any:
            y, back = jax.vjp(forward, x, kernel)
            return y, back(y)

        return both if what != "forward" else forward

    ways = {
        STATIC: one_by_one,
        KINDS: swept(configurations),
        TAPS: swept(by_taps),
        CANVAS: largest,
    }
    contenders = {key: contest.jax_contender(fun(way), x, kernel) for key, way in ways.items()}
    detail = f"{count} configurations, {batch}x{size}x{size}x{channels} > {channels}"
    return contest.measure(f"{name}, {size}x{size}", detail, what, contenders, options.rounds)


def cases(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Result]]]:
    for name, size, what in itertools.product(LISTS, (8,) if options.tiny else (8, 16), WHATS):
        run = functools.partial(measured, name, size, what, options)
        yield f"{name}, {size}x{size}, {what}", run


def main() -> None:
    options = contest.parser(__doc__).parse_args()
    results = contest.run((case for case in cases(options) if options.only in case[0]), RATIOS)
    notes = f"float32{contest.TF32}. Medians."
    contest.report(results, RATIOS, options, title="Configurations as data", notes=notes)


if __name__ == "__main__":
    main()
