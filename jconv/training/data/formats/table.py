"""Columns of numbers: CSV files."""

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from jconv.pictures import FilePath
from jconv.training.data.formats.files import DataError, reading

MISSING = ("", "na", "n/a", "nan", "null")


def read_csv(
    path: FilePath, columns: Sequence[str] | None = None, *, delimiter: str = ","
) -> dict[str, np.ndarray]:
    """Columns of numbers in a CSV file whose first line has their names; in UTF-8.

    Args:
      columns: names of those that are read, None for all. Dates and words can only be left out.
      delimiter: the character between cells.

    Returns:
      An array `(rows,)` of float64 for each column, in the order of `columns`. It is NaN where a
      cell is empty, or NA, N/A, NaN or null, in any case.

    Raises:
      DataError: the file is missing or no text, has no such column or no rows, a row has more or
        fewer cells than the first line, or a cell is no number: the line is named.
      ValueError: if `delimiter` is not one character.
    """
    if len(delimiter) != 1:
        raise ValueError(f"`delimiter` must be one character, got {delimiter!r}")
    with reading(path) as file:
        text = file.read().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader, [])]
        wanted = names if columns is None else list(columns)
        for name in wanted:
            if names.count(name) != 1:
                raise DataError(path, f"must have one column {name!r}, has the columns {names}")
        places = [names.index(name) for name in wanted]
        rows = []
        for cells in filter(None, reader):  # empty lines are no rows
            if len(cells) != len(names):
                raise DataError(
                    path,
                    f"line {reader.line_num} has {len(cells)} cells, expected {len(names)}, one "
                    f"for each of the columns {names}",
                )
            rows.append(
                [_number(path, reader.line_num, names[place], cells[place]) for place in places]
            )
        if not rows:
            raise DataError(path, "has no rows below its line of names")
        return dict(zip(wanted, np.array(rows).T, strict=True))


def _number(path: FilePath, line: int, column: str, cell: str) -> float:
    try:
        return math.nan if cell.strip().lower() in MISSING else float(cell)
    except ValueError:
        raise DataError(
            path,
            f"line {line}, column {column!r}: must be a number or empty, got {cell!r}; `columns` "
            "can leave it out",
        ) from None
