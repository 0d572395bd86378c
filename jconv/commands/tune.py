"""`tune`: which algorithm is the fastest here, for each convolution and pool."""

import argparse
from pathlib import Path

from flax import nnx

from jconv.commands.explain import described
from jconv.commands.networks import describe
from jconv.commands.programs import add_program, program
from jconv.terminal import Parser, console, number, print_json, table
from jconv.tune import tune


def add(command: Parser) -> None:
    add_program(command)
    command.add_argument(
        "--rounds", type=number, default=10, metavar="N",
        help="how often each algorithm is timed, at most (default: 10)",
    )  # fmt: skip
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder whose file for this kind of device gets the times too, such as jconv/tables",
    )


def run(options: argparse.Namespace) -> int:
    model = describe(options, in_channels=options.input[-1])
    nnx.reseed(model, default=0)
    function, arguments = program(options, model, options.gradient)
    found = tune(function, *arguments, rounds=options.rounds, out=options.out)
    files = list(map(str, found.files))
    if options.json:
        steps = [{"key": each.key, "milliseconds": each.times} for each in found.timings]
        print_json(
            {"network": options.network[0], "device": found.device, "files": files, "steps": steps}
        )
        return 0
    rows = table("step", "geometry", "fastest", ">ms", "others, ms")
    for each in found.timings:
        (name, ms), *others = each.times.items()
        told = ", ".join(f"{other} {time:.3g}" for other, time in others)
        rows.add_row(each.form.replace("_", " "), described(each.geometry), name, f"{ms:.3g}", told)
    console().print(rows)
    kept = f"; kept in {' and '.join(map(repr, files))}" if files else ""
    console().print(f"{len(found.timings)} steps on {found.device}{kept}")
    return 0
