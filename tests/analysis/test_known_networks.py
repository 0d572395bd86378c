"""Receptive fields of known networks, against published tables and by their layers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv import models
from jconv.analysis.receptive_field import ReceptiveField, receptive_field
from jconv.analysis.structure import (
    Branches,
    Crop,
    Growth,
    Layer,
    field_of_layers,
    growth_of_layers,
)

# --- Published tables ----------------------------------------------------------------------------
#
# The table of A. Araujo et al., "Computing receptive fields of convolutional neural networks",
# Distill 2019, and by layer github.com/google-research/receptive_field, RECEPTIVE_FIELD_TABLE.md:
# size, stride and padding, which is the negative offset, of TF-Slim's networks.


def alexnet(padding: int = 0) -> list[Layer]:
    """Slim's alexnet_v2; torchvision's has 2 zeros around the picture."""
    return [
        Layer(11, stride=4, padding=padding, name="conv1"),
        Layer(3, stride=2, name="pool1"),
        Layer(5, padding="SAME", name="conv2"),
        Layer(3, stride=2, name="pool2"),
        *(Layer(3, padding="SAME", name=f"conv{i}") for i in (3, 4, 5)),
        Layer(3, stride=2, name="pool5"),
    ]


def vgg16(padding: int = 1) -> Iterator[Layer]:
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, depth + 1):
            yield Layer(3, padding=padding, name=f"conv{stage}_{i}")
            padding = 1
        yield Layer(2, stride=2, name=f"pool{stage}")


def bottleneck(stride: int = 1, dilation: int = 1, **options: Any) -> Branches:
    body = [Layer(1), Layer(3, stride, dilation, dilation), Layer(1)]
    return Branches([body, [Layer(1, stride=stride)]], **options)


def slim_resnet(*depths: int) -> Iterator[Any]:
    """The stride is in the last bottleneck of a block; explicit paddings but for the pool's."""
    yield from (Layer(7, stride=2, padding=3), Layer(3, stride=2, padding="SAME"))
    for block, depth in enumerate(depths, start=1):
        yield [bottleneck()] * (depth - 1)
        yield bottleneck(2 if block < len(depths) else 1, name=f"block{block}")


def mobilenet() -> Iterator[Layer]:
    yield Layer(3, stride=2, padding="SAME", name="0")
    for i, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), start=1):
        yield Layer(3, stride=stride, padding="SAME", name=str(i))


PUBLISHED: dict[str, tuple[Any, int | None, dict[str, tuple[int, int, int]]]] = {
    "alexnet_v2": (
        alexnet(),
        None,
        {
            "conv1": (11, 4, 0),
            "pool1": (19, 8, 0),
            "conv2": (51, 8, 16),
            "conv3": (99, 16, 32),
            "conv4": (131, 16, 48),
            "conv5": (163, 16, 64),
            "pool5": (195, 32, 64),
        },
    ),
    "vgg_16": (
        list(vgg16()),
        None,
        {
            "conv1_1": (3, 1, 1),
            "pool1": (6, 2, 2),
            "conv2_1": (10, 2, 4),
            "pool2": (16, 4, 6),
            "conv3_1": (24, 4, 10),
            "conv3_2": (32, 4, 14),
            "pool3": (44, 8, 18),
            "conv4_1": (60, 8, 26),
            "conv4_2": (76, 8, 34),
            "pool4": (100, 16, 42),
            "conv5_1": (132, 16, 58),
            "conv5_2": (164, 16, 74),
            "pool5": (212, 32, 90),
        },
    ),
    "resnet_v1_50 at 224": (
        list(slim_resnet(3, 4, 6, 3)),
        224,
        {
            "block1": (35, 8, 15),
            "block2": (99, 16, 47),
            "block3": (291, 32, 143),
            "block4": (483, 32, 239),
        },
    ),
    "resnet_v1_50 at 321": (
        list(slim_resnet(3, 4, 6, 3)),
        321,
        {
            "block1": (35, 8, 17),
            "block2": (99, 16, 49),
            "block3": (291, 32, 145),
            "block4": (483, 32, 241),
        },
    ),
    "resnet_v1_101 at 321": (
        list(slim_resnet(3, 4, 23, 3)),
        321,
        {"block2": (99, 16, 49), "block3": (835, 32, 417), "block4": (1027, 32, 513)},
    ),
    "mobilenet_v1 at 224": (
        list(mobilenet()),
        224,
        {
            "0": (3, 2, 0),
            "1": (7, 2, 2),
            "5": (43, 8, 14),
            "12": (251, 32, 94),
            "13": (315, 32, 126),
        },
    ),
    "mobilenet_v1 at 321": (
        list(mobilenet()),
        321,
        {
            "0": (3, 2, 1),
            "1": (7, 2, 3),
            "5": (43, 8, 21),
            "12": (251, 32, 125),
            "13": (315, 32, 157),
        },
    ),
}


def by_name(growth: Growth) -> dict[str, ReceptiveField]:
    return {name.strip(): field for name, field in growth.rows}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables(name: str):
    layers, size, table = PUBLISHED[name]
    fields = by_name(growth_of_layers(layers, size=size))
    found = {key: fields[key] for key in table}
    assert {
        key: (field.size[0], field.stride[0], -field.offset[0]) for key, field in found.items()
    } == table


# --- The networks of jconv.models ----------------------------------------------------------------


def of(fn: Callable[[jax.Array], Any], *shape: int, **options: Any) -> Any:
    return receptive_field(fn, jax.ShapeDtypeStruct(shape, jnp.float32), **options)


def trace(build: Callable[..., Any], outputs: Callable[..., Any], *shape: int) -> Any:
    """The fields of `outputs(model, x)`. The model is made inside: nothing of it is computed."""

    def fn(x: jax.Array) -> Any:
        model = build(rngs=nnx.Rngs(0))
        model.eval()
        return outputs(model, x)

    return of(fn, 1, *shape)


def features(model: Any, x: jax.Array) -> dict[str, jax.Array]:
    return model.features(x)


def basic(stride: int = 1, dilation: int = 1, **options: Any) -> Branches:
    body = [Layer(3, stride, dilation, dilation), Layer(3, padding=1)]
    return Branches([body, [Layer(1, stride=stride)]], **options)


def resnet(block: Any, *depths: int, dilated: Sequence[int] = (1, 1, 1, 1)) -> Iterator[Any]:
    """torchvision's, with the stride in the first block of a stage. Where the dilation grows in
    place of it, the first block has that of the stage before."""
    yield Layer(7, stride=2, padding=3, name="conv1")
    yield Layer(3, stride=2, padding=1, name="maxpool")
    before = 1
    for stage, (depth, dilation) in enumerate(zip(depths, dilated, strict=True), start=1):
        stride = 1 if stage == 1 or dilation > before else 2
        yield block(stride, before, name=f"layer{stage}.0")
        for i in range(1, depth):
            yield block(1, dilation, name=f"layer{stage}.{i}")
        before = dilation


def fcn8s() -> list[Any]:
    layers = list(vgg16(100))
    pool3, pool4, pool5 = layers[:10], layers[10:14], layers[14:]
    twice = Layer(4, stride=2, transposed=True)
    deep = [pool5, Layer(7, name="fc6"), Layer(1, name="fc7"), twice]
    deep = [pool4, Branches([[Layer(1), Crop(5)], deep], name="fuse_pool4"), twice]
    fused = Branches([[Layer(1), Crop(9)], deep], name="fuse_pool3")
    return [pool3, fused, Layer(16, stride=8, transposed=True), Crop(31, name="logits")]


def tcn(levels: int, window: int) -> Iterator[Any]:
    for level in range(levels):
        body = [Layer(window, padding="CAUSAL", dilation=2**level)] * 2
        yield Branches([body, []], name=f"block{level}")


NETWORKS: dict[str, tuple[Any, Callable[..., Any], int, dict[str, tuple[int, int]]]] = {
    # As in the table above.
    "alexnet": (alexnet(2), models.alexnet, 400, {"conv5": (163, 16), "pool5": (195, 32)}),
    "vgg16": (list(vgg16()), models.vgg16, 400, {"pool5": (212, 32)}),
    # 11 after the pool; then 2 * 4 by each of 4 convolutions; 8 and 3 * 16; 16 and 3 * 32; 32 and
    # 3 * 64.
    "resnet18": (
        list(resnet(basic, 2, 2, 2, 2)),
        models.resnet18,
        224,
        {"layer1.1": (43, 4), "layer2.1": (99, 8), "layer3.1": (211, 16), "layer4.1": (435, 32)},
    ),
    # One of three convolutions counts: 3 * 8, 8 + 3 * 16, 16 + 5 * 32, 32 + 2 * 64. Slim's ResNet,
    # above, has its strides later, and so 483 for the same paper.
    "resnet50": (
        list(resnet(bottleneck, 3, 4, 6, 3)),
        models.resnet50,
        224,
        {"layer1.2": (35, 4), "layer2.3": (91, 8), "layer3.5": (267, 16), "layer4.2": (427, 32)},
    ),
    # 404 and 32 are in table 1 of J. Long et al., CVPR 2015. An upconvolution sees two neighbours,
    # which are 32 apart: 404 + 32. Of its outputs two by two see the same, so that of the next one
    # some see 436 + 32. In the last one a neighbour's field lies within the other's.
    "fcn8s": (
        fcn8s(),
        models.fcn8s,
        224,
        {"fc7": (404, 32), "fuse_pool4": (436, 16), "fuse_pool3": (468, 8), "logits": (468, 1)},
    ),
    # Two convolutions for each dilation of section 3 of S. Bai et al., 2018: 1 + 2 * (7 - 1) * (1 +
    # 2 + ... + 128).
    "tcn": (list(tcn(8, 7)), models.tcn, 500, {"block7": (3061, 1)}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_fields_of_their_layers(name: str):
    layers, build, size, derived = NETWORKS[name]
    n, channels = (1, 1) if name == "tcn" else (2, 3)
    found = trace(build, features, *(size,) * n, channels)
    rows = by_name(growth_of_layers(layers, size=(size,) * n))
    assert len(shared := set(rows) & set(found)) >= len(derived)
    assert {key: rows[key] for key in shared} == {key: found[key] for key in shared}
    for key, (length, stride) in derived.items():
        assert (rows[key].size, rows[key].stride) == ((length,) * n, (stride,) * n)


def test_alexnet_as_a_fully_convolutional_network():
    # Table 1 of J. Long et al., CVPR 2015: 355 and 32.
    field = field_of_layers([alexnet(), Layer(6, name="fc6")])
    assert (field.size, field.stride) == ((355,), (32,))


def test_deeplab():
    """Rates of 12, 24 and 36 at stride 8 beside a view of everything; then a linear resize."""
    backbone = list(resnet(bottleneck, 3, 4, 6, 3, dilated=(1, 1, 2, 4)))
    rates = [Layer(3, padding=rate, dilation=rate, name=f"rate {rate}") for rate in (12, 24, 36)]
    branches = Branches([[Layer(1)], *([rate] for rate in rates), [Layer(None)]])
    head = [branches, Layer(3, padding=1, name="score")]
    linear = Layer(16, stride=8, padding=4, transposed=True)
    shape = (520, 520)

    def outputs(model: Any, x: jax.Array) -> dict[str, jax.Array]:
        found = model.features(x)
        branches = model.classifier.branches[1:]
        dilated = {
            f"rate {rate}": f(found["layer4.2"])
            for rate, f in zip((12, 24, 36), branches, strict=True)
        }
        return found | dilated

    found = trace(models.deeplabv3_resnet50, outputs, *shape, 3)
    rows = by_name(growth_of_layers([backbone, head], size=shape))
    assert len(shared := set(rows) & set(found)) == 22
    assert {key: rows[key] for key in shared} == {key: found[key] for key in shared}
    # 427 as ResNet-50, since dilations grow where strides do not; and 2 * rate * 8.
    sizes = {"layer4.2": 427, "rate 12": 619, "rate 24": 811, "rate 36": 1003}
    assert {key: rows[key].size for key in sizes} == {key: (sizes[key],) * 2 for key in sizes}
    assert {rows[key].stride for key in sizes} == {(8, 8)}
    assert rows["score"].covers == found["logits"].covers == (True, True)
    auxiliary = [*backbone[:15], Layer(3, padding=1), linear]  # on layer3.5
    assert field_of_layers(auxiliary, size=shape) == found["aux"]


# --- Networks of other libraries -----------------------------------------------------------------


def test_a_network_of_flax():
    rngs = nnx.Rngs(0)
    same = nnx.Conv(4, 4, (3, 3), rngs=rngs)
    down = nnx.Conv(4, 4, (3, 3), strides=2, padding=1, rngs=rngs)
    up = nnx.ConvTranspose(4, 4, (2, 2), strides=(2, 2), rngs=rngs)
    norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)

    def net(x: jax.Array) -> jax.Array:
        x = x + nnx.relu(norm(same(x)))
        y = nnx.max_pool(down(x), (3, 3), (1, 1), "SAME")
        return jax.image.resize(up(y), (1, 96, 80, 4), "linear")

    found = of(net, 1, 48, 40, 4)
    twice = Layer(2, stride=2, transposed=True)
    linear = Layer(4, stride=2, padding=1, transposed=True)
    layers = [Layer(3, padding=1), Layer(3, 2, 1), Layer(3, padding=1), twice, linear]
    assert found == field_of_layers(layers, size=(48, 40))


def test_a_network_of_equinox():
    import equinox as eqx

    key = jax.random.key(0)
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 2, (7, 5), stride=2, padding=(3, 2), key=key),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(3, 2, padding=1),
            eqx.nn.Lambda(eqx.nn.PReLU()),
            eqx.nn.Conv2d(2, 2, 3, padding="SAME", dilation=2, groups=2, key=key),
            eqx.nn.Dropout(inference=True),
            eqx.nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1, key=key),
            eqx.nn.AvgPool2d(2, 2),
        ]
    )
    layers = [
        Layer((7, 5), stride=2, padding=(3, 2)),
        Layer(3, stride=2, padding=1),
        Layer(3, padding="SAME", dilation=2),
        Layer(4, stride=2, padding=1, transposed=True),
        Layer(2, stride=2),
    ]
    found = of(net, 1, 64, 48, n=2, data_format="channels_first")
    assert found == field_of_layers(layers, size=(64, 48))


def test_a_network_of_haiku():
    """MobileNet: sizes and strides of its blocks in the published table; its paddings differ."""
    import haiku as hk

    def blocks(x: jax.Array, is_training: bool) -> list[jax.Array]:
        outputs = []

        def keep(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            name = type(context.module).__name__, context.method_name
            if name == ("MobileNetV1Block", "__call__"):
                outputs.append(output)
            return output

        with hk.intercept_methods(keep):
            hk.nets.MobileNetV1()(x, is_training)
        return outputs

    net = hk.transform_with_state(blocks)

    def fn(x: jax.Array) -> list[jax.Array]:
        parameters, state = net.init(jax.random.key(0), jnp.zeros(x.shape), True)
        return net.apply(parameters, state, None, x, False)[0]

    found = [(field.size, field.stride) for field in of(fn, 1, 224, 224, 3)]
    sizes = [7, 11, 19, 27, 43, 59, 91, 123, 155, 187, 219, 251, 315]
    strides = [2, 4, 4, 8, 8, *[16] * 6, 32, 32]
    assert found == [
        ((size,) * 2, (stride,) * 2) for size, stride in zip(sizes, strides, strict=True)
    ]
