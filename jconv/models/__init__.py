"""Flax NNX layers and networks over jconv's functions, and the weights of others' networks."""

from jconv.models.alexnet import (
    AlexNet as AlexNet,
    AlexNetConfig as AlexNetConfig,
    alexnet as alexnet,
)
from jconv.models.blocks import ConvNorm as ConvNorm
from jconv.models.checkpoints import read_state_dict as read_state_dict
from jconv.models.deeplab import (
    DeepLab as DeepLab,
    deeplabv3_resnet50 as deeplabv3_resnet50,
    deeplabv3_resnet101 as deeplabv3_resnet101,
)
from jconv.models.export import (
    export_inference as export_inference,
    load_inference as load_inference,
)
from jconv.models.fcn import (
    FCN as FCN,
    FCNConfig as FCNConfig,
    fcn8s as fcn8s,
    fcn16s as fcn16s,
    fcn32s as fcn32s,
)
from jconv.models.group import GroupConv as GroupConv, LiftConv as LiftConv
from jconv.models.layers import Conv as Conv, ConvTranspose as ConvTranspose, bilinear as bilinear
from jconv.models.network import Config as Config, Network as Network
from jconv.models.norms import BatchNorm as BatchNorm, GroupNorm as GroupNorm
from jconv.models.pools import (
    AdaptiveAvgPool as AdaptiveAvgPool,
    AdaptiveMaxPool as AdaptiveMaxPool,
    AvgPool as AvgPool,
    LpPool as LpPool,
    MaxPool as MaxPool,
    MinPool as MinPool,
    SumPool as SumPool,
)
from jconv.models.resnet import (
    ResNet as ResNet,
    ResNetConfig as ResNetConfig,
    plain18 as plain18,
    plain20 as plain20,
    plain32 as plain32,
    plain34 as plain34,
    plain44 as plain44,
    plain56 as plain56,
    plain110 as plain110,
    resnet18 as resnet18,
    resnet20 as resnet20,
    resnet32 as resnet32,
    resnet34 as resnet34,
    resnet44 as resnet44,
    resnet50 as resnet50,
    resnet56 as resnet56,
    resnet101 as resnet101,
    resnet110 as resnet110,
    resnet152 as resnet152,
    resnext50_32x4d as resnext50_32x4d,
    resnext101_32x8d as resnext101_32x8d,
    resnext101_64x4d as resnext101_64x4d,
    wide_resnet50_2 as wide_resnet50_2,
    wide_resnet101_2 as wide_resnet101_2,
)
from jconv.models.resnet3d import (
    VideoResNet as VideoResNet,
    mc3_18 as mc3_18,
    r2plus1d_18 as r2plus1d_18,
    r3d_18 as r3d_18,
)
from jconv.models.segmentation import (
    Segmentation as Segmentation,
    SegmentationConfig as SegmentationConfig,
    fcn_resnet50 as fcn_resnet50,
    fcn_resnet101 as fcn_resnet101,
)
from jconv.models.sweep import SweepConv as SweepConv, SweepNetwork as SweepNetwork
from jconv.models.tcn import TCN as TCN, TCNConfig as TCNConfig, tcn as tcn
from jconv.models.unet import UNet as UNet, UNetConfig as UNetConfig, unet as unet
from jconv.models.vgg import (
    VGG as VGG,
    VGGConfig as VGGConfig,
    vgg16 as vgg16,
    vgg16_bn as vgg16_bn,
)
from jconv.models.weights import (
    KeptHead as KeptHead,
    from_torchvision as from_torchvision,
    to_torchvision as to_torchvision,
)
from jconv.models.zoo import NETWORKS as NETWORKS, network as network
