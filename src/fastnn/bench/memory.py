"""Peak memory of a training step, each library in a process of its own.

python -m fastnn.bench.memory {fastnn|torch} LABEL SIZE

Counted are the bytes by which the peak of the resident memory grows: over what is resident after the imports,
and over what is there when a step of a tiny network has loaded code and started threads besides. It reads
Linux's /proc.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.bench.data import Data, Size
from fastnn.bench.training import FEATURES, Training, all_training, labels

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CONTESTANTS = ("fastnn", "torch")
STEPS = 3


@dataclass(frozen=True)
class Peak:
    """What a library needs for a step."""

    label: str
    size: str
    contestant: str
    over_imports: int  # bytes
    over_small_step: int


def resident() -> int:
    """Bytes of this process that are in memory."""
    return _status("VmRSS")


def peak_resident() -> int:
    """The most bytes that were in memory since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Begin the peak anew."""
    CLEAR.write_text("5", encoding="utf-8")


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def peak(contestant: str, label: str, size: Size) -> Peak:
    """Measure in a new process."""
    command = [sys.executable, "-m", __name__, contestant, label, str(size)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Peak(label, str(size), contestant, **json.loads(shown))


def tiny(nn: Any) -> Any:
    """A network with the layers of the large one."""
    return nn.Sequential(
        nn.Linear(FEATURES, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 10)
    )


def measure(contestant: str, label: str, size: Size) -> dict[str, int]:
    """Measure in this process, which has done nothing else."""
    case = next(case for case in all_training() if isinstance(case, Training) and case.label == label)
    module = importlib.import_module(f"fastnn.bench.peers.{contestant}_training")
    after_imports = resident()
    train(module, replace(case, network=tiny), Size((2, FEATURES)))
    after_small_step = resident()
    forget_peak()
    train(module, case, size)
    most = peak_resident()
    return {"over_imports": most - after_imports, "over_small_step": most - after_small_step}


def train(module: Any, case: Training, size: Size) -> None:
    """A few steps on a batch that is made here, as a program would."""
    x = np.random.default_rng(0).standard_normal(size.shape, np.float32)
    step = module.training(Data(case, size, {"input": x, "target": labels(size)}, x))
    for _ in range(STEPS):
        step()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], Size.parse(sys.argv[3]))))
