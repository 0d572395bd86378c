"""`predict`: what is in pictures."""

import argparse
from collections.abc import Iterator
from typing import Any

from jconv.commands.pictures import add_numbers, add_pictures, classes, load, report
from jconv.inference import Skipped, predict
from jconv.pictures import Preset, find_pictures
from jconv.terminal import Parser


def add(command: Parser) -> None:
    add_pictures(command)
    add_numbers(
        command,
        top=(5, "how many of the likeliest classes to tell"),
        resize=(256, "pixels that the shorter side is resized to"),
        crop=(224, "pixels of each side of the centre, all that the network sees"),
        batch=(16, "pictures at a time"),
    )


def run(options: argparse.Namespace) -> int:
    preset = Preset(resize=options.resize, crop=options.crop)
    paths = find_pictures(options.pictures)
    model = load(options)

    def start(skip: Skipped) -> Iterator[dict[str, Any]]:
        predictions = predict(
            model, paths, preset, top=options.top, batch=options.batch, skipped=skip
        )
        for each in predictions:
            values = zip(each.classes, each.probabilities, strict=True)
            yield {
                "file": str(each.path),
                "classes": classes(options.labels, "probability", values),
            }

    return report(options, paths, start)
