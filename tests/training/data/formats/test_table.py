"""CSV files: columns, missing cells, and which line is wrong."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from jconv.training.data.formats import DataError, read_csv


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_and_missing_cells(tmp_path: Path):
    text = (
        'date,"co2, ppm",temperature\n1958-03-29,316.1,\n\n1958-04-05,NA,-1e2\n1958-04-12,3,nan\n'
    )
    path = write(tmp_path / "a.csv", text)
    read = read_csv(path, ["temperature", "co2, ppm"])
    assert list(read) == ["temperature", "co2, ppm"]
    assert read["co2, ppm"].dtype == np.float64
    np.testing.assert_array_equal(read["co2, ppm"], [316.1, np.nan, 3])
    np.testing.assert_array_equal(read["temperature"], [np.nan, -100, np.nan])


@pytest.mark.parametrize("missing", ["", "  ", "NA", "n/a", "NaN", "null"])
def test_words_for_missing(tmp_path: Path, missing: str):
    read = read_csv(write(tmp_path / "a.csv", f"x,y\n1,{missing}\n"))
    assert math.isnan(read["y"][0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_ends_of_lines(tmp_path: Path, encoding: str, end: str):
    path = write(tmp_path / "a.csv", end.join([" größe ; y", "1;2", "3;4"]), encoding)
    read = read_csv(path, delimiter=";")
    assert {name: column.tolist() for name, column in read.items()} == {
        "größe": [1, 3],
        "y": [2, 4],
    }


@given(st.lists(st.tuples(*[st.floats(allow_nan=True)] * 2), min_size=1, max_size=8))
def test_numbers_come_back_exactly(tmp_path_factory, rows: list[tuple[float, float]]):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write(path, "x,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in rows))
    read = read_csv(path)
    np.testing.assert_array_equal(np.stack([read["x"], read["y"]], 1), rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n", "has no rows below its line of names"),
        ("x,y\n1,2\n3\n", r"line 3 has 1 cells, expected 2, one for each of .*\['x', 'y'\]"),
        ("x,y\n1,2,3\n", "line 2 has 3 cells, expected 2"),
        ("x,y\n1,2\n\n3,four\n", "line 4, column 'y': must be a number or empty, got 'four'"),
        ('x,y\n"1\n",2\n3,-\n', "line 4, column 'y': must be a number or empty, got '-'"),
        ("day,y\n2020-01-01,2\n", "line 2, column 'day': .* `columns` can leave it out"),
        ("x,x\n1,2\n", r"must have one column 'x', has the columns \['x', 'x'\]"),
        ('x,y\n1,"2\n', "cannot be read: unexpected end of data"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=f"a.csv': {message}"):
        read_csv(write(tmp_path / "a.csv", text))


def test_a_column_that_is_not_there(tmp_path: Path):
    path = write(tmp_path / "a.csv", "x;y\n1;2\n")
    with pytest.raises(DataError, match=r"must have one column 'x', has the columns \['x;y'\]"):
        read_csv(path, ["x"])


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\xff")
    with pytest.raises(DataError, match=r"a.csv': cannot be read: 'utf-8' codec can't decode"):
        read_csv(tmp_path / "a.csv")


def test_a_wrong_delimiter(tmp_path: Path):
    with pytest.raises(ValueError, match="`delimiter` must be one character, got '::'"):
        read_csv(tmp_path / "a.csv", delimiter="::")
