"""Learning-rate schedules: torch's values and the formulas', saving, composition, errors, the plot."""

from __future__ import annotations

import copy
import json
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import nn, optim
from fastnn.optim import lr_scheduler as schedules
from fastnn.optim.lr_scheduler import LRScheduler
from support import cases
from support.interrupts import leaves_undone_or_done

Make = Callable[[Any, Any], Any]  # from torch's module or ours, and an optimizer, to a scheduler


class Optimizer:
    """What a scheduler sees of one."""

    def __init__(self, *lrs: float, **others: Any) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": [], "lr": lr, **others} for lr in lrs]

    @property
    def lrs(self) -> list[float]:
        return [group["lr"] for group in self.param_groups]


def sgd(*lrs: float) -> Optimizer:
    return Optimizer(*(lrs or (0.5, 0.02)), momentum=0.7)


def adam(*lrs: float) -> Optimizer:
    return Optimizer(*(lrs or (0.5, 0.02)), betas=(0.9, 0.999))


class Decay:
    """A schedule that is an object, and has something to save."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, step: float) -> float:
        return float(self.rate**step)


def sequence(m: Any, o: Any) -> Any:
    parts = [
        m.LinearLR(o, start_factor=0.1, total_iters=4),
        m.CosineAnnealingLR(o, T_max=9, eta_min=0.001),
        m.StepLR(o, 3, 0.5),
    ]
    return m.SequentialLR(o, parts, milestones=[4, 13])


def chain(m: Any, o: Any) -> Any:
    return m.ChainedScheduler(
        [m.ConstantLR(o, 0.1, 3), m.ExponentialLR(o, 0.9), m.CosineAnnealingLR(o, 40), m.StepLR(o, 7)]
    )


def nested(m: Any, o: Any) -> Any:
    inner = m.SequentialLR(o, [m.ConstantLR(o, 0.5, 2), m.ExponentialLR(o, 0.8)], milestones=[3])
    return m.SequentialLR(o, [inner, m.LambdaLR(o, lambda step: 1 / (1 + step))], milestones=[9])


CASES: dict[str, Make] = {
    "step": lambda m, o: m.StepLR(o, 4),
    "step 1": lambda m, o: m.StepLR(o, step_size=1, gamma=0.7),
    "multi-step": lambda m, o: m.MultiStepLR(o, [3, 11, 11, 15], gamma=0.4),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.93),
    "constant": lambda m, o: m.ConstantLR(o),
    "constant 0.2": lambda m, o: m.ConstantLR(o, factor=0.2, total_iters=9),
    "linear": lambda m, o: m.LinearLR(o),
    "linear down": lambda m, o: m.LinearLR(o, 1.0, 0.05, 12),
    "polynomial": lambda m, o: m.PolynomialLR(o),
    "polynomial 2": lambda m, o: m.PolynomialLR(o, total_iters=17, power=2.0),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 10),
    "cosine eta_min": lambda m, o: m.CosineAnnealingLR(o, T_max=7, eta_min=0.01),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 6),
    "restarts x 2": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.004),
    "lambda": lambda m, o: m.LambdaLR(o, lambda step: 1 / (1 + step)),
    "lambdas": lambda m, o: m.LambdaLR(o, [Decay(0.9), lambda step: 0.95**step]),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda step: 0.9 if step % 3 else 1.1),
    "cyclic": lambda m, o: m.CyclicLR(o, 0.01, 0.3, step_size_up=5),
    "cyclic 2": lambda m, o: m.CyclicLR(o, [0.01, 0.02], [0.3, 0.1], 4, 7, mode="triangular2"),
    "cyclic exp": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 5, 2, mode="exp_range", gamma=0.95),
    "cyclic own": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 4, scale_fn=Decay(0.8), scale_mode="cycle"),
    "cyclic own iterations": lambda m, o: m.CyclicLR(
        o, 0.01, 0.3, 4, scale_fn=lambda step: 1 / (1 + step), scale_mode="iterations", cycle_momentum=False
    ),
    "one-cycle": lambda m, o: m.OneCycleLR(o, 0.4, total_steps=26),
    "one-cycle epochs": lambda m, o: m.OneCycleLR(
        o, [0.4, 0.1], epochs=4, steps_per_epoch=7, pct_start=0.4, anneal_strategy="linear", div_factor=10.0
    ),
    "one-cycle three phases": lambda m, o: m.OneCycleLR(
        o, 0.4, total_steps=26, three_phase=True, final_div_factor=100.0, base_momentum=0.8, max_momentum=0.9
    ),
    "sequence": sequence,
    "chain": chain,
}
OWN: dict[str, Make] = {
    "nested": nested,  # in torch, an inner sequence is a step ahead
    "warm-up": lambda m, o: m.WarmupLR(o, 5),
    "inverse square root": lambda m, o: m.InverseSquareRootLR(o, 6),
    "averaging": lambda m, o: m.SWALR(o, [0.05, 0.1], 6, "linear"),
    "scaled": lambda m, o: m.scaled_for_batch(o, 1024, 32, 5),
    "warm-up, cosine": lambda m, o: m.SequentialLR(
        o, [m.WarmupLR(o, 5), m.CosineAnnealingLR(o, 15)], milestones=[5]
    ),
}
STEPS = 25


def each(case: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", case.values(), ids=case.keys())


def momenta(optimizer: Any) -> list[float]:
    return [g["betas"][0] if "betas" in g else g.get("momentum", 0.0) for g in optimizer.param_groups]


def torch_twin(optimizer: Optimizer) -> Any:
    """torch's optimizer with the same groups."""
    torch = pytest.importorskip("torch")
    groups = [
        {**group, "params": [torch.nn.Parameter(torch.zeros(1))]}
        for group in copy.deepcopy(optimizer.param_groups)
    ]
    return torch.optim.Adam(groups) if "betas" in groups[0] else torch.optim.SGD(groups)


def close(got: list[float], expected: list[float]) -> bool:
    return got == pytest.approx(expected, rel=1e-9, abs=1e-14)


# ---- values ------------------------------------------------------------------------------------------------


@each(CASES)
@pytest.mark.parametrize("kind", [sgd, adam])
@pytest.mark.filterwarnings("ignore")  # torch wants steps of its optimizer, and warns of its own SequentialLR
def test_values_are_torch_s(make: Make, kind: Callable[[], Optimizer]) -> None:
    ours = kind()
    theirs = torch_twin(ours)
    peer = make(pytest.importorskip("torch").optim.lr_scheduler, theirs)
    scheduler = make(schedules, ours)
    for step in range(STEPS):
        expected = [group["lr"] for group in theirs.param_groups]
        assert close(ours.lrs, expected), step
        assert close(scheduler.get_last_lr(), expected), step
        assert close(momenta(ours), momenta(theirs)), step
        scheduler.step()
        peer.step()


def factors(scheduler_of: Callable[[Any], LRScheduler], steps: int = STEPS) -> list[float]:
    """The rates that it sets, for a first one of 1."""
    optimizer = sgd(1.0)
    scheduler = scheduler_of(optimizer)
    result = list(optimizer.lrs)
    for _ in range(steps - 1):
        scheduler.step()
        result += optimizer.lrs
    return result


def wave(start: float, end: float, done: float) -> float:
    return start + (end - start) * math.sin(math.pi / 2 * done) ** 2


FORMULAS: dict[str, tuple[Callable[[Any], LRScheduler], Callable[[int], float]]] = {
    "step": (lambda o: schedules.StepLR(o, 4), lambda s: 0.1 ** (s // 4)),
    "multi-step": (lambda o: schedules.MultiStepLR(o, [9, 3]), lambda s: 0.1 ** ((s >= 3) + (s >= 9))),
    "exponential": (lambda o: schedules.ExponentialLR(o, 0.9), lambda s: 0.9**s),
    "constant": (lambda o: schedules.ConstantLR(o, 0.0, 3), lambda s: float(s >= 3)),
    "linear": (lambda o: schedules.LinearLR(o, 0.2, 1.0, 8), lambda s: min(1, 0.2 + s / 10)),
    "warm-up": (lambda o: schedules.WarmupLR(o, 4), lambda s: min(1, (s + 1) / 4)),
    "no warm-up": (lambda o: schedules.WarmupLR(o, 0), lambda s: 1),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 10, 3), lambda s: max(0, 1 - s / 10) ** 3),
    "cosine": (lambda o: schedules.CosineAnnealingLR(o, 8), lambda s: math.cos(math.pi * s / 16) ** 2),
    "restarts": (
        lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 3),
        lambda s: math.cos(math.pi / 2 * (s / 2 if s < 2 else (s - 2) / 6 if s < 8 else (s - 8) / 18)) ** 2,
    ),
    "nested": (
        lambda o: nested(schedules, o),
        lambda s: 1 / (s - 8) if s >= 9 else 0.8 ** (s - 3) if s >= 3 else 1 - 0.5 * (s < 2),
    ),
    "lambda": (lambda o: schedules.LambdaLR(o, lambda s: 1 / (s + 1)), lambda s: 1 / (s + 1)),
    "multiplicative": (lambda o: schedules.MultiplicativeLR(o, lambda s: s), lambda s: math.factorial(s)),
    "cyclic": (
        lambda o: schedules.CyclicLR(o, 0, 1, 4, mode="triangular2"),
        lambda s: (1 - abs(s % 8 - 4) / 4) / 2 ** (s // 8),
    ),
    "cyclic exp": (
        lambda o: schedules.CyclicLR(o, 0, 1, 3, 5, mode="exp_range", gamma=0.9),
        lambda s: (s % 8 / 3 if s % 8 <= 3 else (8 - s % 8) / 5) * 0.9**s,
    ),
    "one-cycle three phases": (
        lambda o: schedules.OneCycleLR(o, 1.0, 26, pct_start=0.25, div_factor=5, three_phase=True),
        lambda s: (
            wave(0.2, 1, s / 5.5)
            if s <= 5.5
            else wave(1, 0.2, s / 5.5 - 1)
            if s <= 11
            else wave(0.2, 0.2e-4, (s - 11) / 14)
        ),
    ),
    "one-cycle": (
        lambda o: schedules.OneCycleLR(
            o, 1.0, 26, pct_start=6 / 26, anneal_strategy="linear", div_factor=5, final_div_factor=4
        ),
        lambda s: 0.2 + 0.8 * s / 5 if s < 5 else 1 - 0.95 * (s - 5) / 20,
    ),
}


@pytest.mark.parametrize(("make", "formula"), FORMULAS.values(), ids=FORMULAS.keys())
def test_values_are_the_formulas(make: Callable[[Any], LRScheduler], formula: Callable[[int], float]) -> None:
    assert close(factors(make), [formula(step) for step in range(STEPS)])


@pytest.mark.parametrize("kind", [sgd, adam])
def test_the_momentum_goes_the_other_way(kind: Callable[..., Optimizer]) -> None:
    optimizer = kind(1.0)
    scheduler: LRScheduler = schedules.CyclicLR(optimizer, 0, 1, 4)
    for step in range(12):
        assert close(momenta(optimizer), [0.8 + 0.1 * abs(step % 8 - 4) / 4])
        scheduler.step()
    optimizer = kind(1.0)
    scheduler = schedules.OneCycleLR(optimizer, 1.0, 20, anneal_strategy="linear")
    for step in range(20):
        assert close(momenta(optimizer), [0.95 - step / 50 if step <= 5 else 0.85 + (step - 5) / 140])
        assert kind is sgd or optimizer.param_groups[0]["betas"][1:] == (0.999,)
        scheduler.step()
    optimizer = kind(1.0)
    scheduler = schedules.OneCycleLR(optimizer, 1.0, 20, pct_start=0.25, three_phase=True)
    rates = {step: scheduler.momentum_at(step, 0) for step in (0, 4, 8, 15, 19)}
    assert list(rates.values()) == pytest.approx([0.95, 0.85, 0.95, 0.95, 0.95])


def test_inverse_square_root_is_vaswani_s() -> None:
    width, warmup = 512, 10
    optimizer = sgd((width * warmup) ** -0.5)
    scheduler = schedules.InverseSquareRootLR(optimizer, warmup)
    for step in range(1, 40):
        assert close(optimizer.lrs, [width**-0.5 * min(step**-0.5, step * warmup**-1.5)])
        scheduler.step()


@each({name: make for name, make in {**CASES, **OWN}.items() if name != "multiplicative"})
def test_a_schedule_is_a_function_of_the_step(make: Make) -> None:
    optimizer = sgd()
    scheduler, other = make(schedules, optimizer), make(schedules, sgd())
    for step in range(STEPS):
        assert optimizer.lrs == [other.lr_at(step, group) for group in range(2)]
        scheduler.step()
    scheduler.step(7)
    assert optimizer.lrs == [other.lr_at(7, group) for group in range(2)]


def test_one_cycle_ends() -> None:
    rates = factors(lambda o: schedules.OneCycleLR(o, 1.0, 10, anneal_strategy="linear"), 11)
    assert rates[9] == rates[10] == pytest.approx(1 / 25 / 1e4)
    with pytest.raises(ValueError, match="step 11; it was made for total_steps=10"):
        factors(lambda o: schedules.OneCycleLR(o, 1.0, 10), 12)


@pytest.mark.parametrize("pct_start", [0.0, 0.1, 1.0])
def test_one_cycle_with_a_phase_of_no_length(pct_start: float) -> None:
    rates = factors(lambda o: schedules.OneCycleLR(o, 1.0, 10, pct_start=pct_start), 11)
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1, rel=0.03)


def test_warm_restarts_between_steps() -> None:
    optimizer = sgd(1.0)
    scheduler = schedules.CosineAnnealingWarmRestarts(optimizer, 4, 2)
    for batch in range(48):
        scheduler.step(batch / 4)
        since, period = (batch / 4, 4) if batch < 16 else (batch / 4 - 4, 8)
        assert close(optimizer.lrs, [(1 + math.cos(math.pi * since / period)) / 2])
        assert scheduler.last_epoch == batch // 4


# ---- plateau -----------------------------------------------------------------------------------------------

METRICS = [1.0, 0.9, 0.9, 0.89999, 0.95, 0.8, 0.8, math.nan, 0.8, 0.8, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 1},
    {"patience": 2, "factor": 0.5, "min_lr": [0.1, 0.001]},
    {"patience": 0, "cooldown": 2, "threshold": 0.01, "threshold_mode": "abs"},
    {"patience": 1, "mode": "max", "threshold": 0.2},
    {"patience": 1, "mode": "max", "threshold_mode": "abs", "eps": 0.01},
]


@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_plateau_is_torch_s(arguments: dict[str, Any]) -> None:
    ours = sgd()
    theirs = torch_twin(ours)
    peer = pytest.importorskip("torch").optim.lr_scheduler.ReduceLROnPlateau(theirs, **arguments)
    scheduler = schedules.ReduceLROnPlateau(ours, **arguments)
    for metric in METRICS:
        scheduler.step(metric)
        peer.step(metric)
        assert close(ours.lrs, [group["lr"] for group in theirs.param_groups])
        assert close(scheduler.get_last_lr(), ours.lrs)


def test_plateau_counts() -> None:
    optimizer = sgd(1.0)
    scheduler = schedules.ReduceLROnPlateau(optimizer, patience=1, cooldown=1, factor=0.5)
    rates = []
    for metric in (3, 2, 2, 2, 2, 2, 2, 1, 1):
        scheduler.step(metric)
        rates += optimizer.lrs
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_plateau_leaves_small_changes() -> None:
    optimizer = sgd(1.0, 1e-3)
    scheduler = schedules.ReduceLROnPlateau(optimizer, patience=0, eps=0.01)
    for _ in range(2):
        scheduler.step(1.0)
    assert optimizer.lrs == [0.1, 1e-3]


# ---- others change the rate --------------------------------------------------------------------------------


def test_schedulers_one_after_the_other_multiply() -> None:
    optimizer = sgd(1.0)
    pair = [schedules.ExponentialLR(optimizer, 0.9), schedules.CosineAnnealingLR(optimizer, 6)]
    for step in range(13):
        if step <= 6:
            assert close(optimizer.lrs, [0.9**step * math.cos(math.pi * step / 12) ** 2])
        for scheduler in pair:
            scheduler.step()
    assert optimizer.lrs[0] > 0.2  # a rate of 0 on the way is not the end


@pytest.mark.filterwarnings("ignore")
def test_a_changed_rate_goes_on_as_torch_s() -> None:
    ours = sgd()
    theirs = torch_twin(ours)
    peer = pytest.importorskip("torch").optim.lr_scheduler.ExponentialLR(theirs, 0.9)
    scheduler = schedules.ExponentialLR(ours, 0.9)
    for step in range(9):
        if step in (3, 5):
            for group in [*ours.param_groups, *theirs.param_groups]:
                group["lr"] = 0.0 if step == 3 else 0.01
        scheduler.step()
        peer.step()
        assert close(ours.lrs, [group["lr"] for group in theirs.param_groups])


def test_a_plateau_and_a_warm_up_go_together() -> None:
    optimizer = sgd(1.0)
    warmup, plateau = schedules.WarmupLR(optimizer, 4), schedules.ReduceLROnPlateau(optimizer, patience=0)
    rates = []
    for metric in (2, 2, 1, 1, 1):
        warmup.step()
        plateau.step(metric)
        rates += optimizer.lrs
    assert close(rates, [0.5, 0.075, 0.1, 0.01, 0.001])


def test_absolute_schedules_overwrite() -> None:
    optimizer = sgd(1.0)
    scheduler = schedules.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.param_groups[0]["lr"] = 77.0
    scheduler.step()
    assert optimizer.lrs == [0.5]


def test_a_sequence_starts_each_part_afresh() -> None:
    optimizer = sgd(1.0)
    parts = [schedules.ConstantLR(optimizer, 0.5, 9), schedules.ExponentialLR(optimizer, 0.9)]
    scheduler = schedules.SequentialLR(optimizer, parts, [2])
    optimizer.param_groups[0]["lr"] = 0.25
    rates = []
    for _ in range(3):
        scheduler.step()
        rates += optimizer.lrs
    assert rates == [0.25, 1.0, 0.9]


def test_swa_starts_from_the_rate_that_it_finds() -> None:
    """As torch's does: the values are torch 2.13's."""
    optimizer = sgd(0.5)
    main, swa = schedules.StepLR(optimizer, 3, 0.5), schedules.SWALR(optimizer, 0.05)
    for _ in range(7):
        main.step()
    rates = []
    for _ in range(12):
        swa.step()
        rates += optimizer.lrs
    assert rates[:3] == pytest.approx([0.12316461936106826, 0.11783813728906053, 0.10954194696096775])
    assert rates[-3:] == [0.05] * 3
    assert schedules.SWALR(sgd(0.5), 0.3, 0).get_last_lr() == [0.3]


def test_the_rate_of_a_large_batch() -> None:
    optimizer = sgd(0.1)
    steps = [schedules.scaled_for_batch(optimizer, 1024, warmup_steps=4)] * 7
    rates = [(optimizer.lrs, scheduler.step())[0][0] for scheduler in steps]  # type: ignore[func-returns-value]
    assert rates == pytest.approx([0.1, 0.175, 0.25, 0.325, 0.4, 0.4, 0.4])
    small = sgd(0.1)
    assert schedules.scaled_for_batch(small, 32, 64).get_last_lr() == [0.05]
    goyal = sgd(0.1)
    parts = [schedules.scaled_for_batch(goyal, 8, 2, 2), schedules.MultiStepLR(goyal, [3])]
    chained = schedules.ChainedScheduler(parts)
    assert [chained.lr_at(step, 0) for step in range(4)] == pytest.approx([0.1, 0.25, 0.4, 0.04])


def test_the_number_of_the_cycle() -> None:
    for scheduler, ends in (
        (schedules.CosineAnnealingWarmRestarts(sgd(), 3), [3, 6, 9]),
        (schedules.CosineAnnealingWarmRestarts(sgd(), 3, 2), [3, 9, 21]),
        (schedules.CyclicLR(sgd(), 0.1, 0.2, 3, 2), [5, 10, 15]),
    ):
        for number, end in enumerate(ends):
            assert (scheduler.cycle_at(end - 1), scheduler.cycle_at(end)) == (number, number + 1)


# ---- saving ------------------------------------------------------------------------------------------------


@each({**CASES, **OWN})
@pytest.mark.parametrize("order", ["scheduler first", "optimizer first"])
def test_a_saved_schedule_continues(make: Make, order: str) -> None:
    optimizer = adam()
    scheduler = make(schedules, optimizer)
    for step in range(11):
        if step == 5:
            optimizer.param_groups[1]["lr"] *= 0.3
        scheduler.step()
    state = json.loads(json.dumps(scheduler.state_dict()))
    groups = copy.deepcopy(optimizer.param_groups)
    resumed = adam(0.1, 0.2)
    if order == "optimizer first":
        resumed.param_groups = groups
    other = make(schedules, resumed)
    other.load_state_dict(state)
    if order == "scheduler first":
        for group, saved in zip(resumed.param_groups, groups, strict=True):
            group.update(saved)
    assert momenta(resumed) == momenta(optimizer)
    for _ in range(13):
        assert resumed.lrs == optimizer.lrs
        assert other.get_last_lr() == scheduler.get_last_lr()
        scheduler.step()
        other.step()
        assert momenta(resumed) == momenta(optimizer)


def test_a_saved_plateau_continues() -> None:
    optimizer, resumed = sgd(), sgd()
    scheduler = schedules.ReduceLROnPlateau(optimizer, patience=1, cooldown=1)
    for metric in METRICS[:9]:
        scheduler.step(metric)
    other = schedules.ReduceLROnPlateau(resumed)
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    for metric in METRICS[9:]:
        assert resumed.lrs == optimizer.lrs
        scheduler.step(metric)
        other.step(metric)


def test_state_is_a_copy_and_objects_are_saved_by_their_attributes() -> None:
    scheduler = schedules.LambdaLR(sgd(), [Decay(0.9), lambda step: 1.0])
    state = scheduler.state_dict()
    scheduler.step()
    assert state["last_epoch"] == 0
    assert state["lr_lambdas"] == [{"rate": 0.9}, None]
    other = schedules.LambdaLR(sgd(), [Decay(0.1), lambda step: 1.0])
    other.load_state_dict(state)
    other.step()
    assert other.get_last_lr() == scheduler.get_last_lr()
    builtin = schedules.LambdaLR(sgd(), math.cos)
    builtin.load_state_dict(builtin.state_dict())


@each({**CASES, **OWN})
def test_last_epoch_resumes(make: Make) -> None:
    others = OWN["warm-up, cosine"], OWN["scaled"], CASES["multiplicative"]
    if make in (sequence, chain, nested, *others):
        pytest.skip("takes no last_epoch in this form")
    optimizer = sgd()
    scheduler = make(schedules, optimizer)
    for _ in range(6):
        scheduler.step()

    class From5:
        """The schedules, all made with last_epoch=5."""

        def __getattr__(self, name: str) -> Any:
            return lambda o, *args, **kwargs: getattr(schedules, name)(o, *args, **kwargs, last_epoch=5)

    resumed = Optimizer()
    resumed.param_groups = copy.deepcopy(optimizer.param_groups)
    other = make(From5(), resumed)
    assert other.last_epoch == 6
    for _ in range(8):
        assert resumed.lrs == optimizer.lrs
        scheduler.step()
        other.step()


def test_a_sequence_resumes_from_last_epoch() -> None:
    optimizer = sgd(1.0)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    parts = [schedules.ConstantLR(optimizer, 0.5, 9), schedules.ExponentialLR(optimizer, 0.9)]
    schedules.SequentialLR(optimizer, parts, [2], last_epoch=4)
    assert optimizer.lrs == [0.9**3]


# ---- errors ------------------------------------------------------------------------------------------------

BAD: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda o: schedules.StepLR(o, 0), ValueError, "step_size must be a whole number of at least 1, got 0"),
    (
        lambda o: schedules.StepLR(o, 2.5),  # type: ignore[arg-type]
        TypeError,
        "step_size must be a whole number of at least 1, got 2.5",
    ),
    (
        lambda o: schedules.StepLR(o, 3, -1),
        ValueError,
        "gamma must be a finite number of at least 0, got -1.0",
    ),
    (lambda o: schedules.StepLR(o, 3, "x"), TypeError, "gamma must be a real number, got str"),  # type: ignore[arg-type]
    (lambda o: schedules.MultiStepLR(o, [2, -1]), ValueError, r"milestones\[1\] must be .*, got -1"),
    (lambda o: schedules.ExponentialLR(o, math.nan), ValueError, "gamma must be .*, got nan"),
    (
        lambda o: schedules.ConstantLR(o, 1.5),
        ValueError,
        "factor must be .*at least 0 and at most 1, got 1.5",
    ),
    (lambda o: schedules.LinearLR(o, 0), ValueError, "start_factor must be .*above 0, got 0.0"),
    (lambda o: schedules.LinearLR(o, end_factor=2), ValueError, "end_factor must be .*, got 2.0"),
    (lambda o: schedules.LinearLR(o, total_iters=0), ValueError, "total_iters must be .*, got 0"),
    (lambda o: schedules.WarmupLR(o, -1), ValueError, "total_iters must be .*, got -1"),
    (lambda o: schedules.InverseSquareRootLR(o, 0), ValueError, "warmup_steps must be .*, got 0"),
    (lambda o: schedules.PolynomialLR(o, 5, -2), ValueError, "power must be .*, got -2"),
    (lambda o: schedules.CosineAnnealingLR(o, 0), ValueError, "T_max must be .*above 0, got 0.0"),
    (lambda o: schedules.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 must be .*, got 0"),
    (lambda o: schedules.CosineAnnealingWarmRestarts(o, 3, 0), ValueError, "T_mult must be .*, got 0"),
    (
        lambda o: schedules.LambdaLR(o, 3),  # type: ignore[arg-type]
        TypeError,
        "lr_lambda must be a function of the step, or a list of them, got 3",
    ),
    (
        lambda o: schedules.LambdaLR(o, [abs]),
        ValueError,
        "lr_lambda must have one entry for each of the 2 groups, got 1",
    ),
    (lambda o: schedules.LambdaLR(o, [abs, 1]), TypeError, r"lr_lambda\[1\] must be .*, got 1"),  # type: ignore[list-item]
    (lambda o: schedules.CyclicLR(o, [0.1], 1), ValueError, "base_lr must have one entry for each .*, got 1"),
    (lambda o: schedules.CyclicLR(o, 0.1, [1, -1]), ValueError, r"max_lr\[1\] must be .*, got -1.0"),
    (lambda o: schedules.CyclicLR(o, 0.1, 1, 0), ValueError, "step_size_up must be .*, got 0"),
    (
        lambda o: schedules.CyclicLR(o, 0.1, 1, mode="sin"),
        ValueError,
        "mode must be one of 'triang.*, got 'sin'",
    ),
    (lambda o: schedules.CyclicLR(o, 0.1, 1, scale_mode="x"), ValueError, "scale_mode must be .*, got 'x'"),
    (
        lambda o: schedules.OneCycleLR(o, 1),
        ValueError,
        "total_steps must be given, or epochs and steps_per_epoch, got",
    ),
    (lambda o: schedules.OneCycleLR(o, 1, 0), ValueError, "total_steps must be .*, got 0"),
    (lambda o: schedules.OneCycleLR(o, 1, 9, pct_start=1.2), ValueError, "pct_start must be .*, got 1.2"),
    (
        lambda o: schedules.OneCycleLR(o, 1, 9, anneal_strategy="x"),
        ValueError,
        "anneal_strategy must be .*, got 'x'",
    ),
    (lambda o: schedules.OneCycleLR(o, 1, 9, div_factor=0), ValueError, "div_factor must be .*, got 0"),
    (
        lambda o: schedules.ReduceLROnPlateau(o, "low"),
        ValueError,
        "mode must be one of 'min', 'max', got 'low'",
    ),
    (
        lambda o: schedules.ReduceLROnPlateau(o, factor=1),
        ValueError,
        "factor must be a number below 1, got 1",
    ),
    (
        lambda o: schedules.ReduceLROnPlateau(o, min_lr=[0]),
        ValueError,
        "min_lr must have one entry for each .*, got 1",
    ),
    (
        lambda o: schedules.SequentialLR(o, [], []),
        ValueError,
        "milestones must be .* one fewer than the 0 schedulers, got",
    ),
    (
        lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 3)], [3]),
        ValueError,
        "milestones must be .* one fewer than the 1 schedulers, got",
    ),
    (
        lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 3) for _ in range(3)], [5, 3]),
        ValueError,
        r"milestones must be ascending .*, got \[5, 3\]",
    ),
    (
        lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 3)], [], last_epoch=np.zeros(2)),  # type: ignore[arg-type]
        TypeError,
        r"last_epoch must be a whole number of at least -1, got array\(\[0., 0.\]\)",
    ),
    (
        lambda o: schedules.ChainedScheduler([]),
        ValueError,
        "schedulers must be at least one scheduler, got none",
    ),
    (
        lambda o: schedules.ChainedScheduler([o], o),
        TypeError,
        r"schedulers\[0\] must be a scheduler, got Optimizer",
    ),
    (
        lambda o: schedules.ChainedScheduler([schedules.StepLR(o, 3), schedules.StepLR(sgd(), 3)]),
        ValueError,
        r"schedulers\[1\] must be of the same optimizer, got a scheduler of another",
    ),
    (
        lambda o: schedules.ChainedScheduler([schedules.ReduceLROnPlateau(o)]),
        ValueError,
        r"schedulers\[0\] must depend on the step alone, got ReduceLROnPlateau, which needs a metric",
    ),
    (lambda o: schedules.WarmupLR(o, 10**400), ValueError, r"total_iters must be below 2\*\*63, got 10"),
    (
        lambda o: schedules.ExponentialLR(o, 1e300).step(2),
        ValueError,
        "^ExponentialLR: the rates of step 2 must be in the range of float64",
    ),
    (lambda o: schedules.ReduceLROnPlateau(o, np.array([1, 2])), ValueError, r"mode must be one of .*array"),  # type: ignore[arg-type]
    (lambda o: schedules.MultiStepLR(o, 3), TypeError, "milestones must be a list of steps, got int"),  # type: ignore[arg-type]
    (
        lambda o: schedules.MultiStepLR(o, np.array(3)),
        TypeError,
        "milestones must be a list of steps, got nda",
    ),
    (lambda o: schedules.SequentialLR(o, [], 3), TypeError, "^milestones must be a list of steps"),  # type: ignore[arg-type]
    (lambda o: schedules.SequentialLR(o, 3, [1]), TypeError, "^schedulers must be a list of schedulers"),  # type: ignore[arg-type]
    (lambda o: schedules.ChainedScheduler(3), TypeError, "schedulers must be a list of schedulers, got int"),  # type: ignore[arg-type]
    (
        lambda o: schedules.ReduceLROnPlateau(o).step("x"),  # type: ignore[arg-type]
        TypeError,
        "metrics must be a number .*, got str",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for *_, message in BAD])
def test_bad_arguments_are_named(make: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(sgd())


def test_what_a_scheduler_needs_of_the_groups() -> None:
    with pytest.raises(
        ValueError, match="neither momentum nor betas; this optimizer takes cycle_momentum=False"
    ):
        schedules.OneCycleLR(Optimizer(0.1), 1.0, 9)
    schedules.OneCycleLR(Optimizer(0.1), 1.0, 9, cycle_momentum=False)
    with pytest.raises(KeyError, match=r"param_groups\[0\] has no 'initial_lr', which last_epoch=3 needs"):
        schedules.StepLR(sgd(), 2, last_epoch=3)
    optimizer = sgd(1.0)
    scheduler = schedules.StepLR(optimizer, 2)
    optimizer.param_groups += sgd(1.0).param_groups
    with pytest.raises(RuntimeError, match="made for 1 parameter groups, the optimizer has 2 now"):
        scheduler.step()


def test_bad_states_are_refused() -> None:
    scheduler = schedules.StepLR(sgd(), 2)
    state = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"does not fit ExponentialLR.* unknown names \['step_size'\]"):
        schedules.ExponentialLR(sgd(), 0.5).load_state_dict(state)
    with pytest.raises(ValueError, match="state_dict is for 2 parameter groups, the optimizer has 1"):
        schedules.StepLR(sgd(1.0), 2).load_state_dict(state)
    optimizer = sgd()
    one = schedules.SequentialLR(optimizer, [schedules.StepLR(optimizer, 2)], [])
    with pytest.raises(ValueError, match="state_dict has 3 schedulers, this SequentialLR has 1"):
        one.load_state_dict(sequence(schedules, sgd()).state_dict())


def test_a_scheduler_of_one_s_own() -> None:
    class Half(schedules.FactorLR):
        def factor(self, step: int) -> float:
            return 0.5**step

    class Listed(LRScheduler):
        def get_lr(self) -> list[float]:
            return [lr / (1 + self.last_epoch) for lr in self.base_lrs]

    assert factors(Half, 4) == [1, 0.5, 0.25, 0.125]
    assert factors(Listed, 4) == [1, 1 / 2, 1 / 3, 1 / 4]
    with pytest.raises(NotImplementedError, match="Listed does not define lr_at"):
        schedules.ChainedScheduler([Listed(sgd())])


# ---- the plot ----------------------------------------------------------------------------------------------


def drawn(figure: Any) -> list[list[tuple[list[float], list[float]]]]:
    """The lines of every panel: their x and y."""
    return [[(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] for axes in figure.axes]


@each({**CASES, **OWN})
def test_the_plot_leaves_the_optimizer_alone(make: Make) -> None:
    pytest.importorskip("matplotlib")
    optimizer, twin = sgd(), sgd()
    scheduler, other = make(schedules, optimizer), make(schedules, twin)
    for _ in range(3):
        scheduler.step()
        other.step()
    groups, state = copy.deepcopy(optimizer.param_groups), scheduler.state_dict()
    rates = drawn(schedules.plot(scheduler, 8))[0]
    assert optimizer.param_groups == groups
    assert scheduler.state_dict() == state
    for index in range(8):
        assert {y[index] for _, y in rates} == set(twin.lrs)
        other.step()
    assert rates[0][0] == list(range(3, 11))


def test_the_plot_of_a_factory_has_the_momentum(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "one_cycle.png"
    figure = schedules.plot(lambda optimizer: schedules.OneCycleLR(optimizer, 0.1, 20), 20, path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
    (((x, rates),), ((_, momentum),)) = drawn(figure)
    assert x == list(range(20))
    assert max(rates) == pytest.approx(0.1)
    assert min(momentum) == pytest.approx(0.85)


def test_the_plot_of_several_has_their_names() -> None:
    pytest.importorskip("matplotlib")
    several = {
        "step": lambda optimizer: schedules.StepLR(optimizer, 2),
        "plateau": lambda optimizer: schedules.ReduceLROnPlateau(optimizer, patience=1),
    }
    figure = schedules.plot(several, 5, lr=0.5, metrics=[1.0] * 5)
    (panel,) = drawn(figure)
    assert close(panel[0][1], [0.5, 0.5, 0.05, 0.05, 0.005])
    assert close(panel[1][1], [0.5, 0.5, 0.5, 0.05, 0.05])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["step", "plateau"]


def test_bad_plots_are_named() -> None:
    with pytest.raises(ValueError, match=r"steps must be .*, got 0"):
        schedules.plot(lambda optimizer: schedules.StepLR(optimizer, 2), 0)
    with pytest.raises(ValueError, match="metrics must be at least 4 numbers with ReduceLROnPlateau, got 1"):
        schedules.plot(schedules.ReduceLROnPlateau(sgd()), 5, metrics=[1.0])
    with pytest.raises(TypeError, match=r"schedule must be a scheduler, or a function .*, got <function "):
        schedules.plot(lambda optimizer: 0.5, 5)  # type: ignore[arg-type]
    for make, message in (
        (lambda o: schedules.SWALR(o, 0.1, anneal_strategy="x"), "anneal_strategy must be one of 'cos', 'li"),
        (lambda o: schedules.SWALR(o, -0.1), "swa_lr must be a finite number of at least 0, got -0.1"),
        (
            lambda o: schedules.scaled_for_batch(o, 0),
            "batch_size must be a whole number of at least 1, got 0",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make(sgd())


# ---- with an optimizer -------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    exec(code, {"__name__": "example"})


def test_the_example_of_large_batches_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    example = runpy.run_path(str(PAGE.parents[1] / "examples" / "large_batches.py"))
    run = example["run"]
    monkeypatch.setitem(run.__globals__, "EPOCHS", 6)
    for make in ("sgd", "lars", "lamb"):
        accuracy, seconds = run(*example["data"](), example[make], 1024, 1024, 1, 0)
        assert accuracy > 0.8
        assert seconds > 0


def test_the_optimizer_uses_the_rate() -> None:
    parameter = nn.Parameter(np.zeros(1))
    optimizer: Any = optim.SGD([parameter], lr=1.0)
    scheduler = schedules.ExponentialLR(optimizer, 0.5)
    for expected in (-1.0, -1.5, -1.75):
        parameter.grad = np.ones(1)
        optimizer.step()
        scheduler.step()
        assert parameter.data == expected


# ---- interrupts, negative metrics --------------------------------------------------------------------------


@cases.each(
    "make",
    [
        lambda optimizer: schedules.OneCycleLR(optimizer, [0.1, 0.2], total_steps=20),
        lambda optimizer: schedules.ExponentialLR(optimizer, 0.5),
        lambda optimizer: schedules.ReduceLROnPlateau(optimizer, patience=0),
    ],
)
def test_an_interrupt_leaves_a_step_undone_or_done(make: Callable[[Any], Any]) -> None:
    def start() -> Any:
        groups = [{"params": nn.Parameter(np.zeros(2))}, {"params": nn.Parameter(np.zeros(3))}]
        scheduler = make(optim.Adam(groups, lr=0.1))
        act(scheduler)
        return scheduler

    def act(scheduler: Any) -> None:
        scheduler.step(*[1.0] * isinstance(scheduler, schedules.ReduceLROnPlateau))

    def look(scheduler: Any) -> str:
        return repr([scheduler.state_dict(), scheduler.optimizer.param_groups])

    assert leaves_undone_or_done(start, act, look) > 10


def test_a_schedule_that_raises_stays_where_it_was() -> None:
    scheduler = schedules.OneCycleLR(optim.Adam([nn.Parameter(np.zeros(2))]), 0.1, total_steps=2)
    for _ in range(2):
        scheduler.step()
    before = repr([scheduler.state_dict(), scheduler.optimizer.param_groups])
    for _ in range(2):
        with pytest.raises(ValueError, match="OneCycleLR is at step 3"):
            scheduler.step()
    assert repr([scheduler.state_dict(), scheduler.optimizer.param_groups]) == before


@cases.each(
    ("mode", "metrics"),
    [("min", (-10, -9.5, -10.5, -12, -11.9, 5)), ("max", (-10, -10.5, -9.5, -8, -8.1, -20))],
)
def test_a_plateau_of_negative_metrics(mode: str, metrics: tuple[float, ...]) -> None:
    optimizer = optim.SGD([nn.Parameter(np.zeros(2))], lr=1.0)
    scheduler = schedules.ReduceLROnPlateau(optimizer, mode, patience=0, threshold=0.1)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(round(scheduler.get_last_lr()[0], 9))
    assert rates == [1, 0.1, 0.01, 0.01, 0.001, 0.0001]
    assert scheduler.best == metrics[3]
