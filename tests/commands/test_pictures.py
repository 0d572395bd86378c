"""`predict` and `segment`: output, files and exit status."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import jconv.commands.predict as command
from jconv.__main__ import main
from jconv.inference import segment
from jconv.models.weights import from_torchvision
from jconv.pictures import VOC_CLASSES, Preset, colours, decode, overlay
from tests.commands.tiny import build, check_wrong, noise, run, strict
from tests.models.random_network import random_network

# Of pictures that are classified.
SMALL = ("--resize", "32", "--crop", "32")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with files of all kinds."""
    folder = tmp_path / "odd"
    noise(folder / "a.png")
    whole = noise(folder / "b.jpg").read_bytes()
    (folder / "b_truncated.jpg").write_bytes(whole[:-200])
    (folder / "c_text.jpg").write_text("This is no picture.")
    (folder / "d_empty.png").touch()
    (folder / "e_folder.png").mkdir()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(folder / "f_one.png")
    Image.new("CMYK", (9, 9), (1, 2, 3, 4)).save(folder / "g_cmyk.jpg")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(folder / "h_16.png")
    indexed = Image.new("P", (9, 9), 1)
    indexed.putpalette(colours().tobytes())
    indexed.save(folder / "i_indexed.png", transparency=bytes(range(256)))
    indexed.save(folder / "j.gif", save_all=True, append_images=[Image.new("P", (9, 9), 2)])
    (folder / "notes.txt").write_text("Not asked for.")
    return folder


GOOD = ["a.png", "b.jpg", "f_one.png", "g_cmyk.jpg", "h_16.png", "i_indexed.png", "j.gif"]
BAD = {
    "b_truncated.jpg": "cannot be read: ",
    "c_text.jpg": "in no picture format that can be read",
    "d_empty.png": "an empty file",
    "e_folder.png": "a folder, with no picture file directly inside",
}


# --- predict --------------------------------------------------------------------------------------


def test_predictions_are_those_of_the_network(odd: Path, weights, capsys):
    file = weights("tiny", 7)
    status = run(*("predict", "tiny", odd, odd / "e_folder.png"), "--weights", file, *SMALL)
    assert status == 1
    capsys.readouterr()
    status = run(
        *("predict", "tiny", odd, odd / "e_folder.png", "--weights", file, *SMALL),
        *("--top", "3", "--batch", "4", "--json"),
    )
    output, errors = capsys.readouterr()
    assert status == 1
    found = strict(output)
    assert (found["network"], found["interrupted"]) == ("tiny", False)
    assert [each["file"] for each in found["pictures"]] == [str(odd / name) for name in GOOD]
    assert [each["file"] for each in found["skipped"]] == [str(odd / name) for name in BAD]
    for each, line, (name, reason) in zip(
        found["skipped"], errors.splitlines(), BAD.items(), strict=True
    ):
        assert each["reason"].startswith(reason)
        assert line == f"skipped {str(odd / name)!r}: {each['reason']}"

    model = from_torchvision(random_network(lambda: build("tiny")), file)
    model.eval()
    for each in found["pictures"]:
        x = Preset(32, 32)(decode(each["file"]))
        probabilities = np.asarray(jax.nn.softmax(model(x[None])[0]))
        likeliest = np.argsort(-probabilities)[:3]
        assert [found["index"] for found in each["classes"]] == likeliest.tolist()
        assert [found["name"] for found in each["classes"]] == [None] * 3
        np.testing.assert_allclose(
            [found["probability"] for found in each["classes"]],
            probabilities[likeliest],
            rtol=1e-4,
        )


def test_a_table_names_classes_and_is_neither_cut_nor_coloured(tmp_path: Path, weights, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(f"[bold]name :smile: {i}" for i in range(7)))
    long = noise(tmp_path / ("a" * 120) / "[red]b.png")
    file = weights("tiny", 7)
    labels = tmp_path / "labels.txt"
    status = run(
        *("predict", "tiny", long, "--weights", file, "--labels", labels, "--top", "7", *SMALL)
    )
    output, errors = capsys.readouterr()
    assert (status, errors) == (0, "")
    assert "\x1b" not in output
    rows = [line.split("  ") for line in output.splitlines() if str(long) in line]
    assert len(rows) == 7
    assert sorted(re.findall(r"\[bold\]name :smile: \d", output)) == [
        f"[bold]name :smile: {i}" for i in range(7)
    ]
    assert sum(float(row[-1].strip().removesuffix("%")) for row in rows) == pytest.approx(
        100, abs=1
    )


def test_names_of_files_command_no_terminal(tmp_path: Path, weights, capsys):
    names = [b"a\x1b[31m.png", b"b\nc.png", b"d\xff.png"]
    source = noise(tmp_path / "source.png")
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(
            source.read_bytes()
        )
    source.unlink()
    assert run("predict", "tiny", tmp_path, "--weights", weights("tiny", 7), *SMALL) == 0
    output, _ = capsys.readouterr()
    for shown in (r"a\x1b[31m.png", r"b\nc.png", r"d\udcff.png"):
        assert f"{tmp_path}/{shown}" in output
    assert "\x1b" not in output


def test_nothing_but_what_cannot_be_read(odd: Path, weights, capsys):
    file = weights("tiny", 7)
    assert run("predict", "tiny", odd / "d_empty.png", "--weights", file) == 1
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"skipped {str(odd / 'd_empty.png')!r}: an empty file\n")
    assert run("predict", "tiny", odd / "d_empty.png", "--weights", file, "--json") == 1
    assert strict(capsys.readouterr().out)["pictures"] == []


def test_ctrl_c_leaves_what_was_reached(tmp_path: Path, weights, capsys, monkeypatch):
    original = command.predict

    def interrupted(*arguments: Any, **settings: Any) -> Iterator[Any]:
        yield next(iter(original(*arguments, **settings)))
        raise KeyboardInterrupt

    paths = [noise(tmp_path / f"{name}.png") for name in "ab"]
    file = weights("tiny", 7)
    monkeypatch.setattr(command, "predict", interrupted)
    assert run("predict", "tiny", *paths, "--weights", file, *SMALL, "--json") == 130
    output, errors = capsys.readouterr()
    found = strict(output)
    assert found["interrupted"]
    assert [each["file"] for each in found["pictures"]] == [str(paths[0])]
    assert errors == "interrupted: 1 of 2 are done\n"

    def early(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load", early)
    assert run("predict", "tiny", *paths, "--weights", file) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


# --- segment --------------------------------------------------------------------------------------


def test_masks_and_overlays(odd: Path, tmp_path: Path, weights, capsys):
    file, out = weights("tiny_fcn", 21), tmp_path / "new/masks"
    status = run(
        *("segment", "tiny_fcn", odd, odd / "e_folder.png", "--weights", file, "--size", "32"),
        *("--out", out, "--json"),
    )
    output, errors = capsys.readouterr()
    assert status == 1
    found = strict(output)
    assert len(errors.splitlines()) == len(found["skipped"]) == len(BAD)
    model = from_torchvision(random_network(lambda: build("tiny_fcn")), file)
    paths = [odd / name for name in GOOD]
    for each, path, expected in zip(
        found["pictures"], paths, segment(model, paths, Preset(32)), strict=True
    ):
        assert each["file"] == str(path)
        assert Path(each["mask"]) == out / f"{path.stem}_mask.png"
        assert Path(each["overlay"]) == out / f"{path.stem}_overlay.png"
        with Image.open(each["mask"]) as image:
            mask = np.asarray(image)
        picture = decode(path)
        assert mask.shape == picture.shape[:2]
        np.testing.assert_array_equal(mask, expected.mask)
        np.testing.assert_array_equal(decode(each["mask"]), colours()[mask])
        np.testing.assert_array_equal(decode(each["overlay"]), overlay(picture, mask))
        for one in each["classes"]:
            assert one["share"] == pytest.approx((mask == one["index"]).mean())
            assert one["name"] == VOC_CLASSES[one["index"]]
        assert sum(one["share"] for one in each["classes"]) == pytest.approx(1)
    assert len(list(out.iterdir())) == 2 * len(GOOD)


def test_pictures_of_one_name_and_in_the_folder_of_results(tmp_path: Path, weights, capsys):
    out = tmp_path / "out"
    paths = [
        noise(tmp_path / "x/cat.png", 20, 10),
        noise(tmp_path / "y/cat.png", 10, 20),
        noise(out / "dog.png", 8, 8),
        noise(out / "dog_mask.png", 9, 9),
    ]
    before = [path.read_bytes() for path in paths]
    file = weights("tiny_fcn", 21)
    status = run(*("segment", "tiny_fcn", *paths, "--weights", file, "--size", "16", "--out", out))
    output, errors = capsys.readouterr()
    assert (status, errors) == (0, "")
    assert [path.read_bytes() for path in paths] == before
    stems = ("cat", "cat-2", "dog-2", "dog_mask")
    for stem, path in zip(stems, paths, strict=True):
        assert decode(out / f"{stem}_mask.png").shape == decode(path).shape
        assert f" {stem}_mask.png" in output
    assert len(list(out.iterdir())) == 10
    assert output.endswith(f"masks and overlays in {str(out)!r}\n")
    assert "%" in output
    assert "\x1b" not in output


def test_names_of_other_classes(tmp_path: Path, weights, capsys):
    (tmp_path / "labels.json").write_text('["sky", "sea", "land"]')
    picture, file = noise(tmp_path / "a.png"), weights("tiny_fcn", 3)
    options = ("--weights", file, "--size", "16", "--out", tmp_path / "out")
    assert run("segment", "tiny_fcn", picture, *options, "--labels", tmp_path / "labels.json") == 0
    assert re.search("sky|sea|land", capsys.readouterr().out)
    assert run("segment", "tiny_fcn", picture, *options, "--classes", "3") == 0
    assert re.search("class [012]", capsys.readouterr().out)


# --- Mistakes -------------------------------------------------------------------------------------

PREDICT = "predict tiny PICTURE --weights WEIGHTS"
SEGMENT = "segment tiny_fcn PICTURE --weights FCN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predict tiny PICTURE", "the following arguments are required: --weights"),
        ("predict tiny --weights WEIGHTS", "the following arguments are required: PICTURE"),
        ("predict tiny PICTURE --weights MISSING", "argument --weights: must be a file, got '"),
        (f"{PREDICT} --label x", "unrecognized arguments: --label x"),
        (f"{PREDICT} --labels MISSING", "argument --labels: .*No such file"),
        (f"{PREDICT} --labels PICTURE", "argument --labels: cannot read labels from '"),
        (f"{PREDICT} --top many", "argument --top: must be a whole number .* got 'many'"),
        (f"{PREDICT} --top -1", "argument --top: must be a whole number .* got '-1'"),
        (f"{PREDICT} --crop 1.5", "argument --crop: must be a whole number .* got '1.5'"),
        (f"{SEGMENT}", "the following arguments are required: --out"),
        ("predict tiny PICTURE MISSING --weights WEIGHTS", "'.*missing.*': no such file or folder"),
        ("predict tiny PICTURE --weights PICTURE", "--weights '.*a.png': "),
        ("predict tiny_fcn PICTURE --weights WEIGHTS", "--weights .*does not fit"),
        (f"{PREDICT} --classes 9", "--weights has another number of classes .*by --classes, or"),
        (f"{PREDICT} --labels LABELS", "--weights has another number of classes .*by --labels"),
        (f"{PREDICT} --labels LABELS --classes 7", "--labels has 2 names, but --classes is 7"),
        (
            "segment tiny PICTURE --weights WEIGHTS --out OUT",
            "`model` must return logits .batch, h",
        ),
        ("predict tiny_fcn PICTURE --weights FCN", "`model` must return logits .batch, classes"),
        (f"{SEGMENT} --out PICTURE", ".*File exists.*a.png"),
        (f"{SEGMENT} --out PICTURE/below", ".*Not a directory.*a.png"),
        (f"{SEGMENT} --out OUT --size 99999", "`resize` must be from 1 to 5792, got 99999"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: str, message: str, tmp_path: Path, weights, capsys: pytest.CaptureFixture[str]
):
    check_wrong(filled(arguments, tmp_path, weights), message, capsys)


def filled(arguments: str, folder: Path, weights: Callable[..., Path]) -> list[str]:
    (folder / "labels.txt").write_text("yes\nno\n")
    names = {
        "PICTURE": noise(folder / "a.png"),
        "MISSING": folder / "missing",
        "LABELS": folder / "labels.txt",
        "OUT": folder / "out",
        "WEIGHTS": weights("tiny", 7),
        "FCN": weights("tiny_fcn", 21),
    }
    return [
        re.sub("^[A-Z]+", lambda match: str(names[match[0]]), each) for each in arguments.split()
    ]


def test_an_error_of_ours_is_not_hidden(tmp_path: Path, weights, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command, "predict", fail)
    with pytest.raises(ZeroDivisionError):
        main(filled(PREDICT, tmp_path, weights))


def test_out_of_memory_says_what_helps(tmp_path: Path, weights, monkeypatch, capsys):
    def fail(*_: Any, **__: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(command, "predict", fail)
    check_wrong(filled(PREDICT, tmp_path, weights), "out of memory; make --batch, or", capsys)
