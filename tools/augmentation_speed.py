"""What flip and crop with padding cost beside torchvision, a gather in torch, and albumentations.

Prints the table of docs/augmentation.md. It needs torch, torchvision and albumentations:
`python -m tools.augmentation_speed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import augment
from fastnn.bench.measure import in_turns, untimed

THREADS, SECONDS = 2, 8.0
CASES = [(256, 32, 4, "uint8"), (256, 32, 4, "float32"), (64, 224, 28, "uint8"), (64, 224, 28, "float32")]


def contestants(samples: int, size: int, padding: int, dtype: str) -> dict[str, Callable[[], Any]]:
    """All that make such a batch; torchvision flips in one call and does not in the other."""
    import albumentations
    import torch
    import torchvision.transforms.v2 as v2

    torch.set_num_threads(THREADS)
    x = (np.random.default_rng(0).random((samples, 3, size, size)) * 255).astype(dtype)
    tensor, images = torch.from_numpy(x), np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    crop = augment.RandomCrop(size, padding)
    ours = augment.Compose([augment.RandomHorizontalFlip(), crop])
    flipped, plain = (
        v2.Compose([v2.RandomHorizontalFlip(p), v2.RandomCrop(size, padding)]) for p in (1.0, 0.0)
    )
    padded = size + 2 * padding
    of_one = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.PadIfNeeded(padded, padded, border_mode=0),
            albumentations.RandomCrop(size, size),
        ]
    )

    def gather() -> Any:
        pixels = torch.nn.functional.pad(tensor, [padding] * 4)
        top, left = torch.randint(0, 2 * padding + 1, (2, samples, 1))
        place = torch.arange(size)
        columns = left + torch.where(torch.rand(samples, 1) < 0.5, size - 1 - place, place)
        rows, of = (top + place)[:, None, :, None], torch.arange(samples)[:, None, None, None]
        return pixels[of, torch.arange(3)[:, None, None], rows, columns[:, None, None]]

    source, target = np.zeros(x.nbytes // 4, np.float32), np.zeros(x.nbytes // 4, np.float32)
    return {
        "fastnn": lambda: ours(x),
        "torchvision, flipped": lambda: flipped(tensor).contiguous(),
        "torchvision, not flipped": lambda: plain(tensor).contiguous(),
        "gather": gather,
        "albumentations": lambda: np.stack([of_one(image=image)["image"] for image in images]),
        "copy": lambda: F.identity(source, out=target),
    }


def main() -> None:
    """Print the rows."""
    fastnn.set_num_threads(THREADS)
    print("| batch | torchvision | gather in torch | albumentations | copy |\n|---|---|---|---|---|")
    for samples, size, padding, dtype in CASES:
        timings = in_turns(contestants(samples, size, padding, dtype), SECONDS, untimed=untimed(THREADS))
        ours = timings["fastnn"].median
        ratio = {name: timing.median / ours for name, timing in timings.items()}
        torchvision = (ratio["torchvision, flipped"] + ratio["torchvision, not flipped"]) / 2
        row = torchvision, ratio["gather"], ratio["albumentations"]
        cells = " | ".join(f"{value:.1f}" for value in row)
        print(f"| ({samples}, 3, {size}, {size}) {dtype} | {cells} | {ratio['copy']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
