"""What `predict` and `segment` share: pictures in, and what became of each."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jconv.commands import networks
from jconv.inference import Skipped
from jconv.pictures import read_labels
from jconv.terminal import Parser, Work, checked, console, file, number, print_json, shown, table


def add_pictures(command: Parser) -> None:
    networks.add_network(command)
    command.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture file, or folder: all picture files directly inside it",
    )
    command.add_argument(
        "--weights",
        type=file,
        required=True,
        metavar="FILE",
        help="weights of this network, .pth or .safetensors: torchvision's, or what `train` left",
    )
    command.add_argument(
        "--labels",
        type=checked(read_labels),
        metavar="FILE",
        help='names of the classes: one a line or, if it ends in .json, a list or {"0": name, ...}',
    )


def add_numbers(command: Parser, **options: tuple[int, str]) -> None:
    for name, (default, text) in options.items():
        text = f"{text} (default: {default})"
        command.add_argument(f"--{name}", type=number, default=default, metavar="N", help=text)


def load(options: argparse.Namespace) -> Any:
    """The network with its weights, and as many classes as there are labels."""
    if options.labels:
        if options.classes not in (None, len(options.labels)):
            raise ValueError(
                f"--labels has {len(options.labels)} names, but --classes is {options.classes}; "
                "leave --classes out"
            )
        options.classes = len(options.labels)
    return networks.load(options)


def classes(
    labels: Sequence[str] | None, title: str, values: Iterable[tuple[int, float]]
) -> list[dict[str, Any]]:
    """Each class with its value, which is called `title`."""
    return [
        {"index": index, "name": labels[index] if labels else None, title: value}
        for index, value in values
    ]


def report(
    options: argparse.Namespace,
    paths: Sequence[Path],
    start: Callable[[Skipped], Iterator[dict[str, Any]]],
) -> int:
    """Lets `start` do the work, prints what came out, and returns the exit status."""
    work = Work(len(paths))
    work.run(start)
    if options.json:
        skipped = [{"file": str(error.path), "reason": error.reason} for error in work.skipped]
        print_json(
            {
                "network": options.network[0],
                "pictures": work.done,
                "skipped": skipped,
                "interrupted": work.interrupted,
            }
        )
    elif work.done:
        *_, title = work.done[0]["classes"][0]
        masks = "mask" in work.done[0]
        rows = table("picture", "class", f">{title}", *(["mask"] if masks else []))
        for each in work.done:
            for found in each["classes"]:
                name = found["name"] or f"class {found['index']}"
                mask = [shown(Path(each["mask"]).name)] if masks else []
                rows.add_row(shown(each["file"]), name, f"{found[title]:.1%}", *mask)
            rows.add_section()
        console().print(rows)
        if masks:
            console().print(f"masks and overlays in {str(options.out)!r}")
    return work.status
