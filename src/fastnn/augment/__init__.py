"""Random transforms of batches of images, for training, with the names and arguments of torchvision's v2."""

from fastnn.augment.transform import Transform

__all__ = ["Transform"]
