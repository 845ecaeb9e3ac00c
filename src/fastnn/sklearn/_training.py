"""The training loop, by scikit-learn's rules: batches, loss and penalty, learning rate, when to stop."""

from __future__ import annotations

import math
import operator
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import gen_batches, shuffle

from fastnn._core.typing import Array
from fastnn._core.uninterrupted import Call, uninterrupted
from fastnn.sklearn._outputs import OUTPUTS

SMALLEST_RATE = 1e-6  # "adaptive" divides a learning rate above it by 5


@dataclass
class Samples:
    """x, y as the loss takes it, and a weight for each sample, or None: all the same."""

    x: Array
    y: Array
    weight: Array | None

    def part(self, index: Any) -> Samples:
        """Return the samples at an index: a slice, or an array of integers."""
        return Samples(self.x[index], self.y[index], None if self.weight is None else self.weight[index])


def train(mlp: Any, samples: Samples, random: np.random.RandomState, epochs: int) -> None:
    """Train the estimator's network, which is left in evaluation mode, without gradients."""
    held_out = None
    if mlp.early_stopping:
        samples, held_out = _split(mlp, samples, random)
    for part, name in ((samples, "the samples to train with"), (held_out, "the held-out samples")):
        if part is not None and part.weight is not None and part.weight.sum() == 0:
            raise ValueError(f"sample_weight must not be 0 for all of {name}, got zeros")
    training = _Training(mlp, samples, held_out)
    try:
        training.run(random, epochs)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    finally:
        mlp._network.model.eval().zero_grad()
    training.check_weights()
    if mlp._best is not None:
        mlp._network.model.load_state_dict(mlp._best)


def _split(mlp: Any, samples: Samples, random: np.random.RandomState) -> tuple[Samples, Samples]:
    """Return the samples to train with, and those held out."""
    training, held_out = train_test_split(
        np.arange(len(samples.x)),
        random_state=random,
        test_size=mlp.validation_fraction,
        stratify=mlp._stratify(samples.y),
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return samples.part(training), samples.part(held_out)


class _Training:
    """One call of fit, or of partial_fit; it writes its results into the estimator's attributes."""

    def __init__(self, mlp: Any, samples: Samples, held_out: Samples | None) -> None:
        self.mlp, self.samples, self.held_out = mlp, samples, held_out
        self.model, self.linear = mlp._network.model, mlp._network.linear
        self.loss = OUTPUTS[mlp.out_activation_].loss
        assert mlp._network.optimizer is not None
        self.optimizer = mlp._network.optimizer

    def run(self, random: np.random.RandomState, epochs: int) -> None:
        """Train for this many passes through the samples, or until nothing improves."""
        mlp, order = self.mlp, np.arange(len(self.samples.x))
        for mlp.n_iter_ in range(1, epochs + 1):
            if mlp.shuffle:
                order = shuffle(order, random_state=random)
            mlp.loss_ = self._epoch(order if mlp.shuffle else None)
            mlp.loss_curve_.append(mlp.loss_)
            if not math.isfinite(mlp.loss_):
                self.check_weights()
            mlp.t_ += len(order)
            self._print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
            self._note_progress()
            if mlp.solver == "sgd" and mlp.learning_rate == "invscaling":
                self._set_rate(mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t)
            if mlp._no_improvement > mlp.n_iter_no_change and self._is_over():
                return
        if epochs == mlp.max_iter:
            message = f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization"
            warnings.warn(f"{message} hasn't converged yet.", ConvergenceWarning, stacklevel=5)

    def check_weights(self) -> None:
        """Raise ValueError where training has diverged, as scikit-learn does."""
        if not all(np.isfinite(array).all() for array in self.model.state_dict().values()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and"
                " need to be preprocessed."
            )

    def _epoch(self, order: Array | None) -> float:
        """Return the mean loss of one pass through the samples, in this order.

        Batches in which every sample has weight 0 are left out: there is nothing to learn from them.
        """
        samples, total = 0, 0.0
        self.model.train()
        for batch in self._batches(len(self.samples.x)):
            part = self.samples.part(batch if order is None else order[batch])
            if part.weight is None or part.weight.sum() != 0:
                total += self._step(part) * len(part.x)
                samples += len(part.x)
        self.model.eval()
        return total / samples

    def _batches(self, samples: int) -> Any:
        size = self.mlp.batch_size
        if size == "auto":
            size = min(200, samples)
        elif size > samples:
            warnings.warn(f"batch_size {size} is larger than the {samples} samples; it is cut", stacklevel=6)
        # A single sample left over has no variance, so it joins the batch before.
        at_least = 2 if self.mlp.norm == "batch" else 1
        return gen_batches(samples, min(size, samples), min_batch_size=at_least)

    def _step(self, batch: Samples) -> float:
        """Take one step; return the loss before it."""
        z = self.model(batch.x)
        losses, dz = self.loss(z, batch.y)
        if batch.weight is None:
            total, loss = len(losses), float(losses.sum(dtype=np.float64))
        else:
            total, loss = batch.weight.sum(), float(losses @ batch.weight)
            dz *= batch.weight[:, None]
        dz /= total
        self.optimizer.zero_grad()
        self.model.backward(dz)
        penalty = (
            0.5 * self.mlp.alpha * sum(np.vdot(layer.weight.data, layer.weight.data) for layer in self.linear)
        )
        self._update(self.mlp.alpha / total)
        return float((loss + penalty) / total)

    def _update(self, weight_decay: float) -> None:
        mlp, groups = self.mlp, self.optimizer.param_groups
        groups[0]["weight_decay"] = weight_decay
        if mlp.solver == "adam":
            # scikit-learn adds epsilon to the root of the second moment before its bias is corrected.
            for group in groups:
                group["eps"] = mlp.epsilon / math.sqrt(1 - mlp.beta_2 ** (mlp._network.steps + 1))
        self.optimizer.step()

    def _note_progress(self) -> None:
        """Count passes without improvement; keep the weights with the best score on held-out samples."""
        mlp = self.mlp
        if self.held_out is None:
            mlp._count_epoch(mlp.loss_ > mlp.best_loss_ - mlp.tol)
            mlp.best_loss_ = min(mlp.best_loss_, mlp.loss_)
            return
        z = mlp._network.predict(self.held_out.x)
        score = (
            mlp._held_out_score(z, self.held_out.y, self.held_out.weight) if np.isfinite(z).all() else np.nan
        )
        mlp.validation_scores_.append(score)
        self._print(f"Validation score: {score:.6f}")
        mlp._count_epoch(score < mlp.best_validation_score_ + mlp.tol)
        if score > mlp.best_validation_score_:
            mlp.best_validation_score_, mlp._best = score, self.model.state_dict()

    def _is_over(self) -> bool:
        """Return whether to stop after too many passes without improvement, or lower the learning rate."""
        mlp = self.mlp
        what = "Training loss" if self.held_out is None else "Validation score"
        message = (
            f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} consecutive epochs."
        )
        rate = self.optimizer.param_groups[0]["lr"]
        if mlp.solver == "sgd" and mlp.learning_rate == "adaptive" and rate > SMALLEST_RATE:
            self._set_rate(rate / 5)
            self._print(f"{message} Setting learning rate to {rate / 5:f}")
            mlp._no_improvement = 0
            return False
        self._print(f"{message} Stopping.")
        return True

    def _set_rate(self, rate: float) -> None:
        # scikit-learn's velocities have the learning rate in them, and keep it when it changes.
        ratio = self.optimizer.param_groups[0]["lr"] / rate
        velocities = [state.get("momentum_buffer") for state in self.optimizer.state.values()]
        calls: list[Call] = [(operator.imul, array, ratio) for array in velocities if array is not None]
        calls += [(operator.setitem, group, "lr", rate) for group in self.optimizer.param_groups]
        uninterrupted(calls)

    def _print(self, message: str) -> None:
        if self.mlp.verbose:
            print(message)
