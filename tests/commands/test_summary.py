"""`summary`: what is told of networks."""

import re

import jax
import pytest
from flax import nnx

from tests.commands.tiny import build, check_wrong, run, strict


def test_a_summary_of_a_known_network(capsys):
    assert run("summary", "resnet50", "--json") == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    found = strict(output)
    assert (found["network"], found["input"]) == ("resnet50", [1, 224, 224, 3])
    assert (found["parameters"], found["flops"]) == (25_557_032, 2 * 4_089_184_256)
    for total in ("parameters", "flops"):
        assert sum(row[total] for row in found["rows"]) == found[total]
    assert found["rows"][0]["output_shape"] == [1, 112, 112, 64]
    assert found["rows"][-1]["output_shape"] == [1, 1000]

    assert run("summary", "resnet50") == 0
    output, _ = capsys.readouterr()
    assert "\x1b" not in output
    assert re.search(r"1x112x112x64 +9,408 +236 M +7x7\b", output)
    *_, last = output.splitlines()
    assert last.startswith("resnet50 on 1x224x224x3: 25,557,032 parameters, 8.18 GFLOPs")
    for row in found["rows"]:
        assert re.search(rf"^ *{re.escape(row['name'])} ", output, re.MULTILINE)


def test_a_summary_of_other_inputs(capsys):
    options = ("--classes", "3", "--input", "16x24x5", "--batch", "2", "--json")
    assert run("summary", "tiny", *options) == 0
    found = strict(capsys.readouterr().out)
    assert found["input"] == [2, 16, 24, 5]
    assert found["rows"][0]["output_shape"] == [2, 8, 12, 4]
    assert found["rows"][-1]["output_shape"] == [2, 3]
    model = nnx.eval_shape(lambda: build("tiny", num_classes=3, in_channels=5))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert found["parameters"] == sum(leaf.size for leaf in leaves)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("resnet5", "argument NAME: .* got 'resnet5'; did you mean .*resnet50"),
        ("tiny --input 224", "argument --input: must be sizes and channels, such as"),
        ("tiny --input 0x8x3", "argument --input: must be sizes and channels, such as"),
        (
            "tiny --input 8x8x8x3",
            "--input must be 2 sizes and channels for tiny, such as 112x112x3,",
        ),
        ("tiny_tcn --input 8x8x3", "--input must be 1 sizes and channels for tiny_tcn, such as"),
        ("tiny --batch 0", "argument --batch: must be a whole number from 1 to 999999999"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, message: str, capsys: pytest.CaptureFixture[str]):
    check_wrong(f"summary {arguments}", message, capsys)
