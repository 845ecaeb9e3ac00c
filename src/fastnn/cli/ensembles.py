"""`fastnn train --ensemble N`: the same run with N seeds, and one file with all the networks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastnn
from fastnn import train
from fastnn.cli.run_folder import make_folder, member_folder
from fastnn.ensemble import Ensemble


def member_seeds(seed: int, members: int) -> list[int]:
    """Return the members' seeds: the first words that NumPy's SeedSequence makes of --seed."""
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(members)]


def train_ensemble(
    args: argparse.Namespace,
    data: train.Data,
    output: Path,
    train_member: Callable[[argparse.Namespace, Path], None],
) -> None:
    """Train each member in a folder of its own by `train_member(args, folder)`; write the ensemble's files.

    A member's run is that of `fastnn train --seed` with its seed.
    """
    members: dict[str, fastnn.Predictor] = {}
    for number, seed in enumerate(member_seeds(args.seed, args.ensemble), 1):
        folder = make_folder(member_folder(output, number))
        print(f"member {number} of {args.ensemble}, --seed {seed}")
        train_member(argparse.Namespace(**vars(args) | {"seed": seed}), folder)
        members[folder.name] = fastnn.load(folder / "weights.safetensors")
    ensemble = Ensemble(member.model for member in members.values()).to(args.device)
    measured = train.evaluate(ensemble, (data.x_test, data.y_test))
    each = [member.about["metrics"] for member in members.values()]
    accuracy, loss = (np.mean([metrics[name] for metrics in each]) for name in ("accuracy", "loss"))
    print(
        f"held-out accuracy of the ensemble {measured['accuracy']:.2%}, loss {measured['loss']:.4f};"
        f" its members' means {accuracy:.2%} and {loss:.4f}"
    )
    first = next(iter(members.values()))
    about = {
        "settings": first.about["settings"] | {"seed": args.seed, "ensemble": args.ensemble},
        "data": first.about["data"],
        "metrics": measured,
        "members": {
            name: {"seed": member.about["settings"]["seed"], **member.about["metrics"]}
            for name, member in members.items()
        },
    }
    weights = output / "weights.safetensors"
    fastnn.save(weights, ensemble, preprocessing=first.preprocessing, classes=first.classes, about=about)
    metrics = {
        "fastnn": fastnn.__version__,
        "settings": about["settings"],
        **measured,
        "classes": np.asarray(first.classes).tolist(),
        "members": about["members"],
    }
    train.save_json(output / "metrics.json", metrics)
