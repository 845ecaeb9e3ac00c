"""The scripts of the gallery run, in a short form, end in one picture, and measure what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from support.documents import ROOT

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("sklearn")

SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("plot_*.py"))
Find = Callable[[str], float]

# Constants at the top of a script, and their values in its short form.
SHORT = {
    "03_relu_six_times": {"RATES": "(3e-3,)", "EPOCHS": "15"},
    "04_dead_relus": {"EPOCHS": "3", "RATES": "(0.001, 0.3)"},
    "05_initial_weights": {"LAYERS, WIDTH": "10, 100"},
    "06_symmetry": {"EPOCHS": "4"},
    "07_selu": {"LAYERS, WIDTH": "20, 100"},
    "08_batch_norm": {"EPOCHS": "2", "RATES": "(1, 3)", "DEPTHS": "(2, 4)"},
    "10_weight_penalties": {"EPOCHS": "8"},
    "11_random_networks": {"EPOCHS, SEEDS": "3, 1"},
    "12_learning_rates": {"EPOCHS": "4"},
    "13_schedules": {"EPOCHS, SEEDS, RATE": "3, 1, 0.2"},
    "14_random_search": {"EPOCHS": "1", "CURVE": "4"},
    "15_coarse_to_fine": {"EPOCHS": '{"coarse": 1, "fine": 2}', "TRIALS": "10"},
    "16_ensembles": {"MEMBERS, CYCLE": "3, 6"},
    "17_transfer": {"EPOCHS, SEEDS, COPIES, COUNTS": "30, 1, 2, (10,)"},
    "18_batch_size": {"EPOCHS": "8", "SEEDS": "1", "SIZES": "(16, 256)"},
}

# What a script says, loosely, of the numbers that it prints: find("name: (.*)%") is one of them.
SAYS: dict[str, Callable[[Find], bool]] = {
    "01_activations": lambda find: find(r"Sigmoid: largest gradient ([\d.]+)") == 0.25,
    "02_zigzag": lambda find: find(r"sigmoid: .* after (\d+)") > 3 * find(r"tanh: .* after (\d+)"),
    "03_relu_six_times": lambda find: find(r"Sigmoid: .* after (\w+)") > 2 * find(r"ReLU: .* after (\w+)"),
    "04_dead_relus": lambda find: (
        find(r"0.001: .* and +(\d+)% ") < 10 and find(r"0.300: .* and +(\d+)% ") > 90
    ),
    "05_initial_weights": lambda find: (
        find(r"Tanh, 0.01: .* (\S+) in") < 1e-6
        and find(r"ReLU, 1: .* (\S+) in") > 1e6
        and 0.3 < find(r"ReLU, He.* (\S+) in") < 3
    ),
    "06_symmetry": lambda find: find(r"W = 0.1: (\d+) different") == 1 and find(r"random W: (\d+) ") == 8,
    "07_selu": lambda find: abs(find(r"SELU: from mean 0.0, std 3.0 to .* std (\S+)") - 1) < 0.1,
    "08_batch_norm": lambda find: find(r"with .* in (\d) of") > find(r"without .* in (\d) of"),
    "09_dropout": lambda find: abs(find(r"inverted (\S+)") - 1) < 0.03 and find(r"for (\d+)%") > 95,
    "10_weight_penalties": lambda find: (
        find(r"L1: (\d+)%") > 40 > find(r"none: (\d+)%") and find(r"max-norm: .* norm ([\d.]+)") == 1.5
    ),
    "11_random_networks": lambda find: find(r"with mixup: (\S+)%") > 50,
    "12_learning_rates": lambda find: (
        find(r"good: mean loss (\S+)") < 0.3 < 2 < find(r"too low: mean loss (\S+)") < 3
        and find(r"exploding: mean loss (\S+)") > 1e3
    ),
    "13_schedules": lambda find: find(r"cosine: loss (\S+)") < 1,
    "14_random_search": lambda find: find(r"grid: (\d)") == 3 and find(r"random: (\d)") == 9,
    "15_coarse_to_fine": lambda find: find(r"fine: .* accuracy (\S+)%") > find(r"coarse: .* accuracy (\S+)%"),
    "16_ensembles": lambda find: all(
        find(rf"{name}: .* together (\S+)%") > find(rf"{name}: single networks (\S+)%")
        for name in ("snapshots", "independent")
    ),
    "17_transfer": lambda find: find(r"last layer 10: (\S+)%") > find(r"from scratch 10: (\S+)%"),
    "18_batch_size": lambda find: find(r"warm-up .*256: (\S+)%") > find(r"all sizes .*256: (\S+)%"),
}


def short_form(name: str, source: str) -> str:
    for constant, value in SHORT.get(name, {}).items():
        line = rf"^{constant} = .*?(?=  #|$)"
        source, found = re.subn(line, f"{constant} = {value}", source, flags=re.MULTILINE)
        assert found == 1, constant
    return source


@pytest.fixture
def agg() -> Iterator[None]:
    """Draws into memory, and puts matplotlib's settings back."""
    plt.switch_backend("agg")
    with plt.rc_context():
        yield
    plt.close("all")


@pytest.mark.filterwarnings("default")  # a search warns of its short ranges
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_measures_what_it_says(script: Path, agg: None, capsys: pytest.CaptureFixture[str]) -> None:
    source, name = script.read_text(encoding="utf-8"), script.stem.removeprefix("plot_")
    if " search" in source:
        pytest.importorskip("optuna")
    assert source.count("\n") <= 60
    exec(compile(short_form(name, source), script, "exec"), {"__name__": "__main__"})

    assert len(plt.get_fignums()) == 1
    figure = plt.gcf()
    assert all(axes.has_data() for axes in figure.axes)
    figure.set_dpi(30)
    figure.canvas.draw()
    assert np.ptp(np.asarray(figure.canvas.buffer_rgba())[..., :3]) > 100

    printed = capsys.readouterr().out

    def find(pattern: str) -> float:
        numbers = re.findall(pattern, printed)
        assert numbers, (pattern, printed)
        return float(numbers[0])

    assert SAYS[name](find), printed
