"""The page of all results: what it shows, what it leaves out, and how browsers show it."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from jconv import experiment
from jconv.__main__ import main
from jconv.report import ROWS, SCHEMA, ResultError, Table, Tree, collect, render, view

EMPTY = {"area", "br", "hr", "img", "input", "link", "meta"}  # elements without an end


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    epochs: experiment.Count = 20
    """passes over the training pictures"""


def leave(folder: Path, name: str, *options: str) -> Path:
    """The folder of a result as an experiment leaves it."""
    doc = f"Does {name}\n<work> & how?\n\n    python experiments/{name}.py --loud\n"
    out = folder / name
    run = experiment.start(Config, Config(epochs=1), doc, ["--out", str(out), *options])
    figure = Figure(figsize=(6, 3))
    figure.subplots().plot([1, 3, 2])
    numbers = {"error": float("nan"), "by_depth": {"20": {"mean": 0.5}, "56": {"mean": 0.25}}}
    run.finish(f"Yes, {name} <works> & well.", numbers, {"learning_curve": figure})
    return out


@pytest.fixture
def results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "results"
    leave(folder, "sample")
    leave(folder / "nested folder", "other", "--tiny")
    capsys.readouterr()
    return folder


class Page(HTMLParser):
    """What a page is made of; an element that is not closed, or closed wrongly, is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        self.texts.setdefault(tag, []).append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]


def test_the_page_has_all_of_each_result(results: Path):
    page = Page(render(*collect(results)))
    assert page.said("h1") == ["Experiments with convolutions"]
    questions = ["Does other <work> & how?", "Does sample <work> & how?"]
    assert page.said("h2") == questions
    assert page.said("a")[1:] == questions
    body = page.said("body")[0]
    for text in (
        "Yes, sample <works> & well.",
        "python experiments/sample.py --loud",
        "2 questions",
        "learning curve",
    ):
        assert text in body
    assert {"epochs20", "error-", "mean", "200.5", "560.25"} <= set(page.said("tr"))
    assert page.said("summary")[1:4] == ["Settings", "Numbers", "by depth"]
    tiny, whole = page.said("article")
    assert "too short to answer anything" in tiny
    assert "too short" not in whole


def test_the_page_needs_nothing_else_and_can_be_found_around(results: Path):
    text = render(*collect(results))
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object")]
    assert not re.search(r"https?:|url\(|@import", text)
    images = page.all("img")
    assert len(images) == 2
    for image, question in zip(images, page.said("h2"), strict=True):
        assert image["src"].startswith("data:image/png;base64,")
        assert (image["width"], image["height"]) == ("660", "330")
        assert question in image["alt"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = [each["href"] for each in page.all("a")]
    targets += [f"#{each['aria-labelledby']}" for each in page.all("article")]
    assert len(targets) == 5
    assert all(target.startswith("#") and target[1:] in ids for target in targets)
    for tag, attributes in page.elements:
        if "scroll" in attributes.get("class", "").split():  # by keyboard too
            assert attributes["tabindex"] == "0", tag
            assert attributes["aria-label"]


def test_rows_columns_and_trees():
    assert view({"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": True}}) == Table(
        (("a", "1", "2"), ("b", "3", "yes")), ("", "x", "y")
    )
    matrix = [[1, 2], [3, 4]]
    assert view(matrix) == Table((("0", "1", "2"), ("1", "3", "4")), ("", "0", "1"))
    long = view({"plain": list(range(50)), "residual": list(range(50))})
    assert isinstance(long, Table)
    assert long.titles == ("", "plain", "residual")
    assert long.rows[7] == ("7", "7", "7")
    assert view({"few": [1, 2], "text": "yes", "nothing": {}}) == Tree(
        Table((("few", "1, 2"), ("text", "yes"), ("nothing", "none")), ("", "")), ()
    )
    uneven = view({"one": {"x": 1}, "two": {"y": 2}})
    assert isinstance(uneven, Tree)
    assert [name for name, _ in uneven.parts] == ["one", "two"]
    assert view({}) == Tree(None, ())


def test_more_rows_than_anyone_reads_are_counted(results: Path):
    many = view([{"x": i} for i in range(ROWS + 5)])
    assert isinstance(many, Table)
    assert (len(many.rows), many.more) == (ROWS, 5)
    change(results / "sample", numbers={"runs": [{"x": i} for i in range(ROWS + 5)]})
    assert "5 further rows are in result.json." in render(*collect(results))


def change(folder: Path, **fields: Any) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def nested(depth: int) -> Any:
    return {"in": nested(depth - 1)} if depth else 1


BROKEN: dict[str, Callable[[Path], Any]] = {
    "cannot be read: Expecting": lambda folder: (folder / "result.json").write_text("{"),
    "cannot be read: 'utf-8' codec": lambda folder: (folder / "result.json").write_bytes(b"\xff"),
    'no result of an experiment, which has "schema": 1': lambda folder: change(folder, schema=2),
    'no result of an experiment, which has "schema"': lambda folder: (
        folder / "result.json"
    ).write_text("[1]"),
    "its 'answer' is missing or of another kind": lambda folder: change(folder, answer=None),
    "its 'seconds' is missing or of another kind": lambda folder: change(folder, seconds="one"),
    "its numbers are nested deeper than 20": lambda folder: change(folder, numbers=nested(30)),
    "its figure '../a.png' is not the name of": lambda folder: change(folder, figures=["../a.png"]),
    "its figure 3 is not the name of": lambda folder: change(folder, figures=[3]),
    "its figure 'learning_curve.png' cannot be read: cannot identify": lambda folder: (
        folder / "learning_curve.png"
    ).write_text("no picture"),
    "its figure 'learning_curve.png' cannot be read: .*No such file": lambda folder: (
        folder / "learning_curve.png"
    ).unlink(),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_what_is_broken_is_named_and_left_out(
    reason: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    BROKEN[reason](results / "sample")
    page = tmp_path / "page.html"
    assert main(["report", str(results), "--out", str(page)]) == 1
    output, errors = capsys.readouterr()
    assert output == f"1 results in '{page}'\n"
    path = results / "sample" / "result.json"
    assert re.match(f"skipped {str(path)!r}: {reason}", errors)
    assert errors.count("\n") == 1
    *_, left_out = Page(page.read_text()).said("article")
    assert re.match(f"Left out {path}: {reason}", left_out)


def test_where_all_are_broken_the_page_before_stays(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = tmp_path / "page.html"
    assert main(["report", str(results), "--out", str(page)]) == 0
    assert capsys.readouterr() == (f"2 results in '{page}'\n", "")
    before = page.read_bytes()
    for path in results.rglob("result.json"):
        path.write_text("{")
    assert main(["report", str(results), "--out", str(page)]) == 1
    assert capsys.readouterr().err.count("skipped") == 2
    assert page.read_bytes() == before


def test_a_single_result(results: Path):
    [result], left_out = collect(results / "sample")
    assert (result.name, left_out) == ("sample", [])
    assert (result.tiny, result.figures[0].name) == (False, "learning curve")


def test_errors_name_the_file(tmp_path: Path):
    error = ResultError(tmp_path / "a", "is odd")
    assert str(error) == f"{str(tmp_path / 'a')!r}: is odd"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MISSING"], "`folder` must be a folder of results, got '.*missing'"),
        (["EMPTY"], "`folder` must hold a result.json, in it or below, got '.*empty': run an"),
        (["RESULTS", "--out", "MISSING/page.html"], ".*No such file or directory"),
    ],
)
def test_mistakes(
    words: list[str],
    message: str,
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "empty").mkdir()
    for name in ("MISSING", "EMPTY", "RESULTS"):
        words = [word.replace(name, str(tmp_path / name.lower())) for word in words]
    assert main(["report", *words]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(f"python -m jconv: error: {message}.*\n", errors)


def test_it_reads_what_experiments_write():
    assert SCHEMA == experiment.SCHEMA


# --- In a browser ---------------------------------------------------------------------------------

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# What the page tells of itself to one with a frame as wide as a screen, which no window may be.
PROBE = """<script>addEventListener("load", () => {
  const measured = [...document.querySelectorAll("img")].map(each => each.naturalWidth)
  const page = document.documentElement
  const colour = getComputedStyle(document.body).backgroundColor
  parent.postMessage([measured, page.clientWidth, page.scrollWidth, colour], "*")
})</script>"""
FRAME = """<meta name="color-scheme" content="light dark"><title></title>
<script>onmessage = message => document.title = JSON.stringify(message.data)</script>
<iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe>"""


@pytest.mark.skipif(not BROWSER, reason="no Chromium on the PATH")
@pytest.mark.parametrize(("width", "dark"), [(1440, True), (360, False)])
def test_a_browser_shows_all_of_it_without_a_network(
    width: int, dark: bool, results: Path, tmp_path: Path
):
    page, frame = tmp_path / "page.html", tmp_path / "frame.html"
    page.write_text(render(*collect(results)).replace("</body>", f"{PROBE}</body>"))
    frame.write_text(FRAME.format(width=width))
    dumped = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1500,1000"),
            *(f"--blink-settings=preferredColorScheme={0 if dark else 1}",),
            *(f"--user-data-dir={tmp_path / 'browser'}", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    figures, visible, needed, colour = json.loads(Page(dumped).said("title")[0])
    assert figures == [660, 660]
    assert width - 20 <= visible <= width  # but for a scroll bar
    assert needed == visible
    channels = list(map(int, re.findall(r"\d+", colour)))
    assert (max(channels) < 64) if dark else (min(channels) > 192)
