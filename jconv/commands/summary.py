"""`summary`: what a network computes, layer by layer, and what that costs."""

import argparse
import dataclasses

from jconv.analysis.summary import summarize
from jconv.commands.networks import add_network, by, describe
from jconv.commands.programs import add_input, check_input
from jconv.terminal import Parser, console, human, print_json, table


def add(command: Parser) -> None:
    add_network(command)
    add_input(command)


def run(options: argparse.Namespace) -> int:
    model = describe(options, in_channels=options.input[-1])
    check_input(options, model)
    shape = (options.batch, *options.input)
    found = summarize(model, shape)
    if options.json:
        print_json({"network": options.network[0], "input": shape, **dataclasses.asdict(found)})
        return 0
    rows = table("layer", "kind", "output", ">parameters", ">FLOPs", ">receptive field")
    for row in found.rows:
        sizes = (by(row.output_shape), f"{row.parameters:,}", human(row.flops))
        rows.add_row(row.name, row.kind, *sizes, by(row.receptive_field))
    console().print(rows)
    console().print(
        f"{options.network[0]} on {by(shape)}: {found.parameters:,} parameters, "
        f"{human(found.flops, 'FLOPs')}, two for each multiplication with addition"
    )
    return 0
