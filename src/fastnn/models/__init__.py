"""Networks with torchvision's names, for the weight files that users have, and transfer learning."""

from fastnn.models.alexnet import alexnet
from fastnn.models.block import ResidualBlock
from fastnn.models.features import extract_features, split
from fastnn.models.freeze import freeze
from fastnn.models.groups import parameter_groups
from fastnn.models.head import replace_head
from fastnn.models.pretrained import load_pretrained
from fastnn.models.resnet import resnet18, resnet34, resnet50, resnet101
from fastnn.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "ResidualBlock",
    "alexnet",
    "extract_features",
    "freeze",
    "load_pretrained",
    "parameter_groups",
    "replace_head",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "split",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
