"""Small files of every kind that fastnn.datasets reads, made from the descriptions of their formats."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.typing import Array

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
PIXELS = 3 * 32 * 32
FORMS = ["python 2", "protocol 2", "protocol 3", "protocol 4", "protocol 5", "binary"]  # of CIFAR
NUMBERS = "1,2.5,0\n3,-4e-1,1\n5,6,1\n7,8,0\n9,10,1\n"  # of a CSV file


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def idx_bytes(array: Array) -> bytes:
    """An IDX file, from its description: two zeros, type, dimensions, sizes, elements, all big-endian."""
    name = f"{array.dtype.kind}{array.dtype.itemsize}"
    head = struct.pack(f">4B{array.ndim}I", 0, 0, TYPES[name], array.ndim, *array.shape)
    return head + array.astype(f">{name}").tobytes()


def make_mnist(folder: Path, style: str = "{}-{}-idx{}-ubyte", compress: bool = False) -> dict[str, Array]:
    """Both parts of an MNIST of 7 and 5 images, in a folder made for it; returns what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, samples in (("train", 7), ("t10k", 5)):
        images = draw().integers(0, 256, (samples, 28, 28), np.uint8)
        labels = np.arange(samples, dtype=np.uint8)
        for kind, dimensions, array in (("images", 3, images), ("labels", 1, labels)):
            arrays[f"{part} {kind}"] = array
            write(folder / style.format(part, kind, dimensions), idx_bytes(array), compress)
    return arrays


def write(path: Path, content: bytes, compress: bool = False) -> None:
    path.with_name(path.name + ".gz" * compress).write_bytes(gzip.compress(content) if compress else content)


def python2_pickle(batch: dict[str, Any]) -> bytes:
    """A CIFAR batch as Python 2 pickled it, protocol 2, instruction by instruction, for uint8 arrays."""
    code = b"\x80\x02}q\x01("
    for key, value in batch.items():
        code += text2(key)
        if isinstance(value, np.ndarray):
            code += b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
            code += b"(K\x01J" + struct.pack("<i", len(value)) + b"M\x00\x0c\x86"
            code += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
            code += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            code += b"\x89T" + struct.pack("<i", value.nbytes) + value.tobytes() + b"tb"
        elif isinstance(value, list):
            items = (text2(item) if isinstance(item, str) else b"K" + bytes([item]) for item in value)
            code += b"](" + b"".join(items) + b"e"
        else:
            code += text2(value)
    return code + b"u."


def text2(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def cifar_batch(kind: str, samples: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    fields = {"labels": 10} if kind == "cifar-10" else {"fine_labels": 100, "coarse_labels": 20}
    labels = {name: rng.integers(0, classes, samples).tolist() for name, classes in fields.items()}
    names = [f"image_{index}.png" for index in range(samples)]
    data = rng.integers(0, 256, (samples, PIXELS), np.uint8)
    return {"batch_label": "a batch", "data": data, "filenames": names, **labels}


def cifar_names(kind: str) -> list[str]:
    return (
        [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if kind == "cifar-10" else ["train", "test"]
    )


def make_cifar(folder: Path, kind: str, form: str) -> list[dict[str, Any]]:
    """Every batch of a small CIFAR; returns what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    batches = []
    for seed, name in enumerate(cifar_names(kind)):
        batch = cifar_batch(kind, 3 + seed, seed)
        batches.append(batch)
        if form == "binary":
            order = ["labels"] if kind == "cifar-10" else ["coarse_labels", "fine_labels"]
            rows = [np.array(batch[key], np.uint8)[:, None] for key in order] + [batch["data"]]
            (folder / f"{name}.bin").write_bytes(np.hstack(rows).tobytes())
        elif form == "python 2":
            (folder / name).write_bytes(python2_pickle(batch))
        else:
            (folder / name).write_bytes(pickle.dumps(batch, protocol=int(form[-1])))
    return batches
