"""The steps of a session: what each runs, what it needs, and how long it may take.

It imports fastnn only when a step is asked what it misses: the compiled module may have to be unpacked first.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: In the place of the folder of results, in a command.
FOLDER = "{folder}"
PYTHON = (sys.executable, "-m")
SMOKE = (*PYTHON, "tools.gpu_session.smoke")
SANITIZED = ("compute-sanitizer", "--error-exitcode", "9", "--tool")

#: Names, besides the layers, that the benchmark times: cheap and costly formulas, and one with a sum.
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "softplus", "sigmoid", "logsigmoid", "prelu")
BENCHED = ("layers", *ACTIVATIONS)
PEERS = ("torch", "cudnn")
METRICS = ",".join(
    (
        "gpu__time_duration.sum",
        "dram__bytes.sum",
        "dram__throughput.avg.pct_of_peak_sustained_elapsed",
        "sm__inst_issued.avg.pct_of_peak_sustained_active",
        "sm__warps_active.avg.pct_of_peak_sustained_active",
        "launch__registers_per_thread",
        "launch__occupancy_limit_registers",
    )
)


class Step(NamedTuple):
    """A program with a limit of time, in seconds. What it `needs` are programs, modules, or "gpu"."""

    name: str
    command: Sequence[str]
    seconds: int
    needs: Sequence[str] = ("gpu",)

    def missing(self) -> list[str]:
        """What it needs that is not there, each in words."""
        return [text for need in self.needs if (text := _missing(need))]

    def words(self, folder: Path) -> list[str]:
        """The command, which writes its own files into this folder; only peers that are installed."""
        words = [word.replace(FOLDER, str(folder)) for word in self.command]
        return words + [name for name in PEERS if self.name == "bench" and is_installed("torch")]


def is_installed(module: str) -> bool:
    """Whether it can be imported, without doing so."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _missing(need: str) -> str:
    if need == "gpu":
        from fastnn.cuda._runtime import status

        found = status.find_gpu()
        return found if isinstance(found, str) else ""
    if need in ("ncu", "compute-sanitizer"):
        return "" if shutil.which(need) else f"{need} is not on the PATH"
    return "" if is_installed(need) else f"{need} is not installed"


STEPS = (
    Step("info", (*PYTHON, "tools.gpu_session.info"), 30, ()),
    Step("smoke", (*SMOKE, "--json", f"{FOLDER}/smoke.json"), 90, ("gpu", "cupy")),
    Step("launch_cost", (*PYTHON, "tools.gpu.launch_cost"), 40, ("gpu", "cupy")),
    Step(
        "tests",
        (
            *PYTHON,
            "pytest",
            *("-m", "gpu", "-n", "12", "tests/cuda", "--tb=short", "-p", "no:cacheprovider"),
            f"--junitxml={FOLDER}/tests.xml",
        ),
        240,
        ("gpu", "cupy", "pytest", "xdist"),
    ),
    Step(
        "bench",
        (
            *PYTHON,
            "fastnn",
            *("bench", "--device", "cuda", "--time-per-cell", "0.05", "--output", f"{FOLDER}/bench"),
            *("--kernels", *BENCHED, "--peers"),
        ),
        200,
        ("gpu", "cupy"),
    ),
    Step("memcheck", (*SANITIZED, "memcheck", *SMOKE, "--small"), 80, ("gpu", "cupy", SANITIZED[0])),
    Step("racecheck", (*SANITIZED, "racecheck", *SMOKE, "--small"), 80, ("gpu", "cupy", SANITIZED[0])),
    Step(
        "ncu",
        (
            *("ncu", "--clock-control", "none", "--csv", "--metrics", METRICS, "--profile-from-start", "off"),
            *(*PYTHON, "tools.gpu_session.four_kernels"),
        ),
        60,
        ("gpu", "cupy", "ncu"),
    ),
)
NAMES = tuple(step.name for step in STEPS)
