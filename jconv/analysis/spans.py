"""What the outputs of a chain of windows see along one axis, exactly and for pictures of any size.

It repeats itself: outputs a period apart see the same, moved by a shift. So it is a few spans, from
the first to the last position that an output sees:

    window 3, stride 2, padding 1        transposed, window 3, stride 2, padding 1

    output 0   -1..1   shift 2           output 0    0..0
                                         output 1    0..1   shift 1
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TypeAlias

Span: TypeAlias = tuple[int, int] | None


@dataclasses.dataclass(frozen=True)
class Axis:
    """Outputs along one axis of a picture.

    Attributes:
      spans: first and last position that each output of a period sees; None where it sees nothing.
      shift: how far they move with every period; 0 if all outputs see the same.
      length: number of outputs; None if the size of the picture is not known.
    """

    spans: tuple[Span, ...]
    shift: int
    length: int | None

    @property
    def stride(self) -> Fraction:
        return Fraction(self.shift, len(self.spans))

    def at(self, output: int) -> Span:
        lap, phase = divmod(output, len(self.spans))
        span = self.spans[phase]
        return span and (span[0] + lap * self.shift, span[1] + lap * self.shift)

    def together(self, outputs: Iterable[int]) -> Span:
        return union(self.at(output) for output in outputs)

    def slid(self, taps: Sequence[int], stride: int, length: int | None) -> "Axis":
        """Windows `stride` apart, of which the first reads the outputs `taps`."""
        common = math.gcd(len(self.spans), stride)
        spans = tuple(
            self.together(i * stride + tap for tap in taps)
            for i in range(len(self.spans) // common)
        )
        return Axis(spans, self.shift * (stride // common), length)

    def spread(self, taps: Sequence[int], stride: int, length: int | None) -> "Axis":
        """The transpose of such windows: from each to what it reads."""
        spans = tuple(
            self.together((i - tap) // stride for tap in taps if (i - tap) % stride == 0)
            for i in range(len(self.spans) * stride)
        )
        return Axis(spans, self.shift, length)

    def covers(self, size: int | None) -> bool:
        """Whether every output sees all of a picture."""
        if size is None or self.length is None:
            return False
        spans = map(self.at, range(self.length))
        return all(span is not None and span[0] <= 0 and span[1] >= size - 1 for span in spans)


def picture(size: int | None) -> Axis:
    """The picture itself: output i sees position i."""
    return Axis(((0, 0),), 1, size)


def union(spans: Iterable[Span]) -> Span:
    seen = [span for span in spans if span]
    if not seen:
        return None
    first, last = zip(*seen, strict=True)
    return min(first), max(last)


def joined(axes: Sequence[Axis], size: int | None) -> Axis | None:
    """What the outputs of branches see together, as many as the shortest has. Beside a branch that
    sees all of the picture no other counts. None if their strides differ."""
    full = [axis for axis in axes if not axis.shift and axis.covers(size)]
    lengths = [axis.length for axis in axes if axis.shift and axis.length is not None]
    length = min(lengths, default=axes[0].length)
    if full:
        return dataclasses.replace(full[0], length=length)
    if len({axis.stride for axis in axes}) > 1:
        return None
    period = math.lcm(*(len(axis.spans) for axis in axes))
    spans = tuple(union(axis.at(i) for axis in axes) for i in range(period))
    return Axis(spans, int(axes[0].stride * period), length)
