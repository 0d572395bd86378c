"""Tables in plain text."""

from collections.abc import Collection, Sequence


def aligned(lines: Sequence[Sequence[str]], numbers: Collection[int]) -> str:
    """Lines of cells as columns two spaces apart; those of `numbers` end below each other.

    >>> print(aligned([("layer", "count"), ("conv1", "8"), ("all", "16")], numbers=[1]))
    layer  count
    conv1      8
    all       16
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
