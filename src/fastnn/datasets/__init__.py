"""Readers for data sets that the user has; nothing is downloaded.

Every reader returns (x, y), checks what it reads, and raises ValueError naming the file and what is wrong,
or FileNotFoundError naming what it looked for.
"""

from fastnn.datasets.cifar_files import cifar10, cifar100
from fastnn.datasets.csv_file import csv
from fastnn.datasets.idx_files import idx, mnist
from fastnn.datasets.image_folder import folder
from fastnn.datasets.npz_file import npz
from fastnn.datasets.samples import Samples, samples
from fastnn.datasets.source import Source, digits, load

__all__ = [
    "Samples",
    "Source",
    "cifar10",
    "cifar100",
    "csv",
    "digits",
    "folder",
    "idx",
    "load",
    "mnist",
    "npz",
    "samples",
]
