"""How long does the first convolution of a process take, beside plain `jax.lax`?

    python experiments/bench/startup.py --out experiments/bench/startup.md

Expected: a minute on 2 cores. Result: startup.md and startup.png beside this file.

From the start of Python to the first result, imports and compilation included: by `jax.lax`, by
jconv on a fresh installation (which first proves in a child process that oneDNN is sound), by jconv
once that is remembered, and by jconv where its cache cannot be written.
"""

import math
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import contest
from contest import Contender, Ratio, Result

RATIOS = (
    Ratio("fresh jconv / lax", "jconv, fresh", ("lax",)),
    Ratio("later jconv / lax", "jconv, later", ("lax",)),
)
START = """
import jax, jax.numpy as jnp
x, kernel = jnp.ones((8, 56, 56, 64)), jnp.ones((3, 3, 64, 64))
"""
LAX = """
layout = ("NHWC", "HWIO", "NHWC")
conv = lambda x, kernel: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), "SAME", dimension_numbers=layout
)
"""
JCONV = """
import jconv
conv = lambda x, kernel: jconv.conv(x, kernel, padding="SAME")
"""
FORWARD = "jax.block_until_ready(jax.jit(conv)(x, kernel))"
GRADIENTS = """
loss = lambda x, kernel: conv(x, kernel).sum()
jax.block_until_ready(jax.jit(jax.value_and_grad(loss, (0, 1)))(x, kernel))
"""


def process(program: str, cache: Path | None = None) -> Contender:
    """`program` in a process of its own, with a new and empty cache or with this one."""

    def start() -> None:
        with tempfile.TemporaryDirectory() as empty:
            environment = os.environ | {"JCONV_CACHE_DIR": str(cache or empty)}
            subprocess.run([sys.executable, "-c", program], env=environment, check=True)

    return Contender(start, lambda _: None, arrays=lambda _: [])


def measure(what: str, end: str, rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as cache:
        contenders = {
            "lax": process(START + LAX + end),
            "jconv, fresh": process(START + JCONV + end),
            "jconv, later": process(START + JCONV + end, Path(cache)),
            "jconv, unwritable": process(START + JCONV + end, Path(os.devnull)),
        }
        name = "first call"
        return contest.measure(name, "8x56x56x64, 3x3", what, contenders, rounds, budget=math.inf)


def main() -> None:
    options = contest.parser(__doc__, rounds=7).parse_args()
    whats = {"forward": FORWARD, "forward and gradients": GRADIENTS}
    cases = [
        (what, partial(measure, what, end, options.rounds))
        for what, end in whats.items()
        if not (options.tiny and end is GRADIENTS)
    ]
    notes = "Medians of whole processes."
    results = contest.run(cases, RATIOS)
    contest.report(results, RATIOS, options, title="The first convolution", notes=notes)


if __name__ == "__main__":
    main()
