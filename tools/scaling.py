"""How a training step scales to many ranks: a model on paper, and a simulation of the step with its noise.

`python -m tools.scaling` measures the parts of a step of a perceptron 784-512-512-10 on one thread, and what
adding costs for each byte, and prints the tables of docs/ranks.md: efficiency, the time of a step of one
process over that of p ranks with as many rows each. The networks' numbers are assumptions, given below. Under
`mpiexec -n 2` it compares the model with the steps of two ranks of this machine instead.

The model: the gradients of n bytes are added up by Rabenseifner's algorithm, or by recursive doubling where
that is faster (Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in
MPICH", 2005), and the ranks form two short sums, of the loss and of the wish to stop. With overlap, a bucket
of gradients is added up as soon as backward has made it and the bucket before is through. The simulation
draws the noise of each rank's part from the measured times, and lets all wait for the slowest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

import fastnn
from fastnn import nn, optim, train
from fastnn._core.typing import Array
from fastnn.cli.launched import launched_ranks
from fastnn.functional import cross_entropy
from fastnn.train.gradients import BUCKET

SIZES = (784, 512, 512, 10)
ROWS = (32, 128, 512)  # of a batch on each rank
RANKS = (2, 8, 64, 256, 1024)
STEPS = 400  # that are measured, and simulated


class Network(NamedTuple):
    """What a message between two hosts costs: seconds, and seconds for each byte."""

    name: str
    latency: float
    byte: float


#: InfiniBand or RoCE, and Ethernet by TCP: their usual latencies, nine tenths of their bandwidths.
NETWORKS = (Network("100 Gb/s", 2e-6, 8 / 90e9), Network("10 Gb/s", 25e-6, 8 / 9e9))


class Step(NamedTuple):
    """The parts of a step on one thread, medians in seconds, and its noise."""

    before: float  # forward and the loss
    layers: tuple[float, ...]  # backward of each layer, the last one first
    bytes: tuple[int, ...]  # of each layer's gradients
    after: float  # the optimizer
    noise: tuple[Array, Array]  # times before backward and in it, over their medians

    @property
    def total(self) -> float:
        """The time of a process alone."""
        return self.before + sum(self.layers) + self.after

    @property
    def mean(self) -> float:
        """The same with the noise."""
        before, backward = (float(noise.mean()) for noise in self.noise)
        return self.before * before + sum(self.layers) * backward + self.after


def added(network: Network, ranks: int, size: float, byte: float) -> float:
    """Seconds for adding up so many bytes over ranks; `byte`: what adding costs for one."""
    rounds, part = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    halving = 2 * rounds * network.latency + part * size * (2 * network.byte + byte)
    return min(halving, rounds * (network.latency + size * (network.byte + byte)))


def buckets(step: Step, overlap: bool) -> list[tuple[float, float]]:
    """When backward has made each bucket, as a share of its time, and its bytes."""
    whole, total, done, found = sum(step.layers), sum(step.bytes), 0.0, []
    if not overlap:
        return [(1.0, float(total))]
    waiting = 0.0
    for seconds, size in zip(step.layers, step.bytes, strict=True):
        pieces = max(1, round(size / BUCKET))
        for _ in range(pieces):
            done += seconds / pieces
            waiting += size / pieces
            if waiting >= BUCKET * 0.75 or done > whole * 0.9999:
                found.append((done / whole, waiting))
                waiting = 0.0
    return found


def step_time(
    step: Step,
    network: Network,
    ranks: int,
    byte: float,
    overlap: bool,
    slower: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Seconds of a step; slower: by what factor the slowest rank is, before backward and in it."""
    short = 2 * added(network, ranks, 64, byte)
    start = step.before * slower[0]
    backward = sum(step.layers) * slower[1]
    end = 0.0
    for share, size in buckets(step, overlap):
        end = max(end, start + share * backward) + added(network, ranks, size, byte)
    return max(end, start + backward) + step.after + short


def simulated(step: Step, network: Network, ranks: int, byte: float, overlap: bool) -> float:
    """The mean of many steps, in which each rank's parts have the noise that was measured."""
    rng = np.random.default_rng(0)
    times = []
    for _ in range(STEPS):
        before, backward = (float(rng.choice(noise, ranks).max()) for noise in step.noise)
        times.append(step_time(step, network, ranks, byte, overlap, (before, backward)))
    return float(np.mean(times))


# ---- measurements ------------------------------------------------------------------------------------------


def median(function: Callable[[], object], repeats: int) -> float:
    """The median time of calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def network() -> nn.Sequential:
    """The perceptron."""
    fastnn.manual_seed(1)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(SIZES):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def measured(rows: int) -> Step:
    """The parts of a step with so many rows."""
    model, rng = network(), np.random.default_rng(0)
    model.needs_input_grad = False
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = rng.standard_normal((rows, SIZES[0])).astype(np.float32)
    y = rng.integers(0, SIZES[-1], rows)
    taken = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        times = [time.perf_counter()]
        _, doutput = cross_entropy(model(x), y)
        times.append(time.perf_counter())
        model.backward(doutput)
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        taken.append(np.diff(times))
    # A layer's backward takes two products, the first layer's one: by these the time is divided.
    layers = [*pairwise(SIZES)]
    products = [inputs * outputs * (2 if place else 1) for place, (inputs, outputs) in enumerate(layers)]
    before, backward, after = np.median(taken, axis=0).tolist()
    first, second, _ = np.transpose(taken)
    return Step(
        before,
        tuple(backward * product / sum(products) for product in reversed(products)),
        tuple(4 * (inputs + 1) * outputs for inputs, outputs in reversed(layers)),
        after,
        (first / before, second / backward),
    )


def adding_byte() -> float:
    """Seconds for adding one byte of a float32 array to another."""
    a, b = np.ones(2**19, np.float32), np.ones(2**19, np.float32)
    return median(lambda: np.add(a, b, out=a), 200) / a.nbytes


def table(steps: dict[int, Step], byte: float) -> list[str]:
    """Lines of Markdown: efficiencies by the model, and by the simulation."""
    lines = [
        "| network | rows on each rank | ranks | one message | overlap | simulated: one message | overlap |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for net in NETWORKS:
        for rows, step in steps.items():
            for ranks in RANKS:
                both = (False, True)
                model = [step.total / step_time(step, net, ranks, byte, overlap) for overlap in both]
                tried = [step.mean / simulated(step, net, ranks, byte, overlap) for overlap in both]
                cells = " | ".join(f"{value:.0%}" for value in (*model, *tried))
                lines.append(f"| {net.name} | {rows} | {ranks} | {cells} |")
    return lines


class Clock(train.Callback):
    """Notes when each step is over."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, trainer: train.Trainer) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def step_of_fit(ranks: train.Ranks, rows: int) -> float:
    """The median time of a step of fit with so many rows on each rank."""
    model, rng, clock = network(), np.random.default_rng(0), Clock()
    x = rng.standard_normal((rows * ranks.size, SIZES[0])).astype(np.float32)
    y = rng.integers(0, SIZES[-1], len(x))
    rule = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    train.fit(
        model,
        (x, y),
        optimizer=rule,
        batch_size=len(x),
        epochs=STEPS,
        metrics=[],
        callbacks=[clock],
        ranks=ranks,
    )
    return float(np.median(np.diff(clock.times)))


def compare(ranks: train.Ranks) -> None:
    """Print the steps of these ranks beside the model's, with this machine's memory as the network."""
    few, many = np.zeros(8), np.zeros(2**20, np.float32)
    latency = median(lambda: ranks.add_up(few), 2000)
    memory = Network("memory", latency, median(lambda: ranks.add_up(many), 200) / many.nbytes)
    for rows in ROWS:
        step = measured(rows)
        alone = step_of_fit(train.Ranks(), rows)  # on all ranks at the same time: they share the memory
        for overlap in (False, True):
            seconds = step_of_fit(train.Ranks(ranks.comm, overlap=overlap), rows)
            expected = alone + step_time(step, memory, ranks.size, 0.0, overlap) - step.total
            if not ranks.rank:
                kind = "overlap" if overlap else "one message"
                numbers = (1e3 * value for value in (seconds, expected, alone))
                print(
                    "{} rows, {}: {:.2f} ms, by the model {:.2f}, alone {:.2f}".format(rows, kind, *numbers)
                )


def main() -> None:
    """Print the tables, or the comparison."""
    fastnn.set_num_threads(1)
    ranks = launched_ranks()
    if ranks.size > 1:
        compare(ranks)
        return
    byte = adding_byte()
    steps = {rows: measured(rows) for rows in ROWS}
    print(f"adding: {byte * 1e9:.3f} ns a byte")
    for rows, step in steps.items():
        parts = ", ".join(f"{seconds * 1e3:.2f}" for seconds in step.layers)
        high, most = np.quantile(step.noise[1], (0.9, 1))
        print(
            f"{rows} rows: {step.before * 1e3:.2f} ms before, backward {parts}, {step.after * 1e3:.2f} after;"
            f" noise of backward {high:.2f} at 90%, {most:.2f} at most"
        )
    print("\n".join(table(steps, byte)))


if __name__ == "__main__":
    main()
