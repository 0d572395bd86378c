"""`report`: one HTML page of all results of experiments."""

import argparse
from pathlib import Path

from jconv.report import collect, render, write
from jconv.terminal import Parser, console


def add(command: Parser) -> None:
    command.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="of result.json files, in it or below (default: results)",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="the page, which needs no other file and no network (default: report.html)",
    )


def run(options: argparse.Namespace) -> int:
    results, left_out = collect(options.folder)
    for error in left_out:
        console(stderr=True).print(f"skipped {error}", soft_wrap=True)
    if results:
        write(options.out, render(results, left_out))
        console().print(f"{len(results)} results in {str(options.out)!r}")
    return 1 if left_out else 0
