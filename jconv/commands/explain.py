"""`explain`: which algorithm computes each convolution and pool, and why."""

import argparse
from collections import Counter
from typing import Any

from flax import nnx

from jconv.commands.networks import by, describe
from jconv.commands.programs import add_program, program
from jconv.explain import Step, explain
from jconv.geometry import Geometry, Windows
from jconv.terminal import Parser, console, print_json, table


def add(command: Parser) -> None:
    add_program(command)
    command.add_argument(
        "--platform", choices=("cpu", "gpu", "tpu"), help="(default: where jax runs here)"
    )


def run(options: argparse.Namespace) -> int:
    model = describe(options, in_channels=options.input[-1])
    nnx.reseed(model, default=0)
    function, arguments = program(options, model, options.gradient)
    found = explain(function, *arguments, platform=options.platform)
    counts = Counter(found.steps)
    what = "a training step" if options.gradient else "inference"
    if options.json:
        steps = [{"count": count, **_plain(step)} for step, count in counts.items()]
        document = {"network": options.network[0], "platform": found.platform, "what": what}
        print_json({**document, "steps": steps})
        return 0
    rows = table(">times", "step", "geometry", "algorithm", ">cost", "why", "others")
    for step, count in counts.items():
        rows.add_row(str(count), step.form.replace("_", " "), described(step.geometry), *_why(step))
    console().print(rows)
    by_algorithm = Counter(step.chosen.algorithm for step in found.steps)
    listed = ", ".join(f"{name} {count}" for name, count in by_algorithm.most_common())
    console().print(
        f"{options.network[0]}, {what} on {found.platform}: {len(found.steps)} convolutions and "
        f"pools, by {listed}; the cost of xla is 1"
    )
    return 0


def described(geometry: Windows) -> str:
    """In words, without what is usual.

    >>> described(Windows((8, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1)))
    '8x8, window 3x3, stride 2, padding 1'
    """
    words = [by(geometry.size), f"window {by(geometry.window)}"]
    if isinstance(geometry, Geometry):
        inputs = by((geometry.batch, *geometry.size, geometry.in_channels))
        words[0] = f"{inputs} > {geometry.out_channels}"
    sides = [low if low == high else f"{low}-{high}" for low, high in geometry.padding]
    for name, values, usual in (
        ("stride", geometry.stride, 1),
        ("padding", sides, 0),
        ("dilation", geometry.dilation, 1),
        ("input spread", geometry.base_dilation, 1),
    ):
        if set(values) != {usual}:
            words.append(f"{name} {values[0] if len(set(values)) == 1 else by(values)}")
    if isinstance(geometry, Geometry) and geometry.groups > 1:
        words.append(f"{geometry.groups} groups")
    return ", ".join(words)


def _why(step: Step) -> tuple[str, str, str, str]:
    """The algorithm, its cost, the reason, and what the others would cost."""
    chosen = step.chosen
    others = [each for each in step.candidates if each.cost is not None]
    told = [
        f"{each.algorithm} {each.cost:.2g}" for each in others if each.algorithm != chosen.algorithm
    ]
    return chosen.algorithm, f"{chosen.cost:.2g}", chosen.reason, ", ".join(told)


def _plain(step: Step) -> dict[str, Any]:
    return {
        "form": step.form,
        "geometry": vars(step.geometry),
        "dtypes": list(map(str, step.dtypes)),
        "algorithm": step.chosen.algorithm,
        "reason": step.chosen.reason,
        "costs": {each.algorithm: each.cost for each in step.candidates if each.cost is not None},
    }
