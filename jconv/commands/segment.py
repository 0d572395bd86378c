"""`segment`: what is where in pictures."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jconv.commands.pictures import add_numbers, add_pictures, classes, load, report
from jconv.inference import MASK, OVERLAY, Skipped, save, segment, stems
from jconv.pictures import VOC_CLASSES, Preset, find_pictures
from jconv.terminal import Parser


def add(command: Parser) -> None:
    add_pictures(command)
    add_numbers(command, size=(520, "pixels that the shorter side is resized to"))
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder for NAME{MASK}, whose values are the classes, and NAME{OVERLAY}, both in the "
        "size of picture NAME; where two have one name, NAME-2",
    )


def run(options: argparse.Namespace) -> int:
    preset = Preset(resize=options.size)
    paths = find_pictures(options.pictures)
    names = dict(zip(paths, stems(paths, options.out, (MASK, OVERLAY)), strict=True))
    model = load(options)
    options.out.mkdir(parents=True, exist_ok=True)

    def start(skip: Skipped) -> Iterator[dict[str, Any]]:
        for each in segment(model, paths, preset, skipped=skip):
            mask, overlay = save(each, options.out, names[each.path])
            voc = VOC_CLASSES if each.classes == len(VOC_CLASSES) else None
            yield {
                "file": str(each.path),
                "mask": str(mask),
                "overlay": str(overlay),
                "classes": classes(options.labels or voc, "share", each.shares().items()),
            }

    return report(options, paths, start)
