"""`bench`: how long networks and operations take by jconv, beside plain jax.lax."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jconv.commands.networks import add_network, build, by, describe
from jconv.commands.programs import Program, add_input, check_input, program
from jconv.terminal import Parser, Work, console, number, print_json, table
from jconv.workloads import CONTEST, Workload, find

SIDES = {"jconv": None, "lax": "xla"}  # and the algorithm of each, None being jconv's choice


class Case(NamedTuple):
    """What is timed, and how it is made when its turn comes."""

    name: str
    detail: str
    what: str
    make: Callable[[], Program]


def add(command: Parser) -> None:
    add_network(command, optional=True)
    add_input(command)
    command.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="without NAME: those operations of known networks whose name has it (default: all)",
    )
    command.add_argument(
        "--rounds",
        type=number,
        default=10,
        metavar="N",
        help="how often each is timed, in turn; medians count (default: 10)",
    )


def run(options: argparse.Namespace) -> int:
    cases = of_network(options) if options.network else of_workloads(options.only)
    by_algorithm(None, *_forward(find("digits")))  # the first compilation takes longer
    work = Work(len(cases))
    work.run(lambda _: (measured(case, options.rounds) for case in cases))
    ratio = statistics.median(each["ratio"] for each in work.done) if work.done else None
    device = jax.devices()[0].device_kind
    if options.json:
        print_json(
            {"device": device, "cases": work.done, "ratio": ratio, "interrupted": work.interrupted}
        )
    elif work.done:
        titles = ("name", "shapes", "what", ">jconv ms", ">lax ms", ">ratio")
        rows = table(*titles, ">jconv compiled in s", ">lax in s")
        for each in work.done:
            times = (f"{each['ms'][side]:.3g}" for side in SIDES)
            compiles = (f"{each['compile_s'][side]:.2f}" for side in SIDES)
            what = (each["name"], each["detail"], each["what"])
            rows.add_row(*what, *times, f"{each['ratio']:.2f}", *compiles)
        console().print(rows)
        console().print(f"median ratio {ratio:.2f}, on {device}: below 1 jconv is the faster")
    return work.status


# --- Cases ----------------------------------------------------------------------------------------


def of_network(options: argparse.Namespace) -> list[Case]:
    check_input(options, describe(options, in_channels=options.input[-1]))
    model = build(options, in_channels=options.input[-1])
    detail = by((options.batch, *options.input))

    def make(gradient: bool) -> Program:
        function, (parameters, others, x) = program(options, model, gradient)
        return Program(function, (parameters, others, _numbers(x)))

    return [
        Case(options.network[0], detail, "inference", partial(make, False)),
        Case(options.network[0], detail, "training step", partial(make, True)),
    ]


def of_workloads(only: str) -> list[Case]:
    chosen = [each for each in CONTEST if only in each.name]
    if not chosen:
        names = ", ".join(each.name for each in CONTEST)
        raise ValueError(f"`only` must be part of a name among {names}, got {only!r}")
    return [
        Case(each.name, str(each), what, partial(make, each))
        for each in chosen
        for what, make in (("forward", _forward), ("gradients", _gradients))
    ]


def _forward(workload: Workload) -> Program:
    return Program(workload, tuple(map(_numbers, workload.specs())))


def _gradients(workload: Workload) -> Program:
    def gradients(cotangent: jax.Array, *arrays: jax.Array) -> Any:
        return jax.vjp(workload, *arrays)[1](cotangent)

    specs = workload.specs()
    result = jax.eval_shape(workload, *specs)
    return Program(gradients, tuple(map(_numbers, (result, *specs))))


def _numbers(spec: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(spec.shape, np.float32))


# --- Times ----------------------------------------------------------------------------------------


def measured(case: Case, rounds: int) -> dict[str, Any]:
    """Medians of both sides, which take turns."""
    function, arguments = case.make()
    runs, compile_s = {}, {}
    for side, algorithm in SIDES.items():
        runs[side], compile_s[side] = by_algorithm(algorithm, function, arguments)
        jax.block_until_ready(runs[side]())
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in list(SIDES)[:: -1 if turn % 2 else 1]:
            begin = time.perf_counter()
            jax.block_until_ready(runs[side]())
            seconds[side].append(time.perf_counter() - begin)
    ms = {side: 1e3 * statistics.median(values) for side, values in seconds.items()}
    return {
        **{"name": case.name, "detail": case.detail, "what": case.what},
        "ms": ms,
        "ratio": ms["jconv"] / ms["lax"],
        "compile_s": compile_s,
    }


def by_algorithm(
    algorithm: str | None, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Callable[[], Any], float]:
    """A compiled call of the function, and the seconds that compiling it took."""
    with preferring(algorithm):
        jax.clear_caches()  # of functions that were traced with the other algorithm
        begin = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        return lambda: compiled(*arguments), time.perf_counter() - begin


@contextmanager
def preferring(algorithm: str | None) -> Iterator[None]:
    """What is traced inside is computed by this algorithm, wherever it can."""
    before = os.environ.get("JCONV_ALGORITHM")
    if algorithm is not None:
        os.environ["JCONV_ALGORITHM"] = algorithm
    try:
        yield
    finally:
        os.environ.pop("JCONV_ALGORITHM", None)
        if before is not None:
            os.environ["JCONV_ALGORITHM"] = before
