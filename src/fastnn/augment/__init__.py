"""Random transforms of batches of images, for training, with the names and arguments of torchvision's v2.

Images are (N, C, H, W) of uint8, float32 or float64, and keep their dtype. Unlike torchvision's on a batch,
parameters are drawn for each sample.
"""

from fastnn.augment.affine import RandomAffine, RandomRotation
from fastnn.augment.color import ColorJitter
from fastnn.augment.compose import Compose
from fastnn.augment.erasing import RandomErasing
from fastnn.augment.mix import CutMix, MixUp
from fastnn.augment.moves import RandomCrop, RandomHorizontalFlip, RandomVerticalFlip
from fastnn.augment.noise import GaussianNoise
from fastnn.augment.resized_crop import RandomResizedCrop
from fastnn.augment.transform import Transform
from fastnn.augment.tta import predict_tta

__all__ = [
    "ColorJitter",
    "Compose",
    "CutMix",
    "GaussianNoise",
    "MixUp",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Transform",
    "predict_tta",
]
