"""Layers with an explicit backward pass: names, arguments and defaults are torch.nn's, arrays are NumPy's."""

from fastnn import init
from fastnn.nn import utils
from fastnn.nn._summary import summary
from fastnn.nn.activation import (
    ACTIVATIONS,
    CELU,
    ELU,
    GELU,
    SELU,
    Activation,
    Exp,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSigmoid,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Softshrink,
    Softsign,
    Square,
    Squareplus,
    Tanh,
    Tanhshrink,
    Threshold,
)
from fastnn.nn.along_dim import GLU, LogSoftmax, Softmax, SwiGLU
from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from fastnn.nn.container import Sequential
from fastnn.nn.conv import Conv2d
from fastnn.nn.dropout import (
    AlphaDropout,
    DropConnect,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    DropPath,
)
from fastnn.nn.flatten import Flatten
from fastnn.nn.linear import Linear
from fastnn.nn.lists import ModuleDict, ModuleList, ParameterDict, ParameterList
from fastnn.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, MSELoss
from fastnn.nn.module import Module
from fastnn.nn.norm import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm, RMSNorm
from fastnn.nn.parameter import Parameter
from fastnn.nn.pool import AdaptiveAvgPool2d, AvgPool2d, FractionalMaxPool2d, MaxPool2d
from fastnn.nn.residual import Residual
from fastnn.nn.slope import Maxout, PReLU, RReLU

__all__ = [
    "ACTIVATIONS",
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Activation",
    "AdaptiveAvgPool2d",
    "AlphaDropout",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv2d",
    "CrossEntropyLoss",
    "DropConnect",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Exp",
    "Flatten",
    "FractionalMaxPool2d",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Maxout",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "PReLU",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "RMSNorm",
    "RReLU",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Square",
    "Squareplus",
    "SwiGLU",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "init",
    "summary",
    "utils",
]
