"""A student's network of CS231n, assignment 2, on handwritten digits: only the imports say fastnn.

About 98% of the held-out images right after some seconds: python examples/cs231n_digits.py
"""

# ruff: noqa: F403, F405 - importing * is how the assignments do it

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from fastnn.cs231n import optim
from fastnn.cs231n.layer_utils import *
from fastnn.cs231n.layers import *

Array = NDArray[Any]


class FullyConnectedNet:
    """(affine, norm, ReLU, dropout) for each hidden layer, then affine and softmax.

    normalization: None, "batchnorm" or "layernorm"; keep: the probability that dropout keeps a value.
    """

    def __init__(
        self,
        dims: list[int],
        normalization: str | None = None,
        keep: float = 1.0,
        reg: float = 0.0,
        dtype: Any = np.float32,
        seed: int = 0,
    ) -> None:
        self.layers, self.normalization, self.reg, self.dtype = len(dims) - 1, normalization, reg, dtype
        self.dropout_param = {"mode": "train", "p": keep}
        self.norm_params: list[dict[str, Any]] = [{"mode": "train"} for _ in dims[1:-1]]
        self.params: dict[str, Array] = {}
        rng = np.random.default_rng(seed)
        for i, (before, after) in enumerate(pairwise(dims), 1):
            self.params[f"W{i}"] = rng.normal(0, np.sqrt(2 / before), (before, after)).astype(dtype)
            self.params[f"b{i}"] = np.zeros(after, dtype)
            if normalization and i < self.layers:
                self.params[f"gamma{i}"] = np.ones(after, dtype)
                self.params[f"beta{i}"] = np.zeros(after, dtype)

    def loss(self, x: Array, y: Array | None = None) -> Any:
        """Return the scores of x, or with labels y the loss and the gradient of each parameter."""
        mode = "test" if y is None else "train"
        for param in (self.dropout_param, *self.norm_params):
            param["mode"] = mode
        h, caches = x.astype(self.dtype), []
        for i in range(1, self.layers):
            h, cache = self.hidden_forward(h, i)
            caches.append(cache)
        scores, cache = affine_forward(h, *self.weights(self.layers))
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        grads: dict[str, Array] = {}
        dh = self.store(grads, self.layers, affine_backward(dscores, cache))
        for i in range(self.layers - 1, 0, -1):
            dh = self.hidden_backward(grads, dh, caches[i - 1], i)
        for i in range(1, self.layers + 1):
            loss += 0.5 * self.reg * float(np.sum(self.params[f"W{i}"] ** 2))
            grads[f"W{i}"] += self.reg * self.params[f"W{i}"]
        return loss, grads

    def weights(self, i: int) -> tuple[Array, Array]:
        """The parameters of an affine layer."""
        return self.params[f"W{i}"], self.params[f"b{i}"]

    def hidden_forward(self, h: Array, i: int) -> tuple[Array, Any]:
        """One hidden layer."""
        if self.normalization is None:
            h, cache = affine_relu_forward(h, *self.weights(i))
        else:
            norm = batchnorm_forward if self.normalization == "batchnorm" else layernorm_forward
            h, fc_cache = affine_forward(h, *self.weights(i))
            scale = self.params[f"gamma{i}"], self.params[f"beta{i}"]
            h, norm_cache = norm(h, *scale, self.norm_params[i - 1])
            h, relu_cache = relu_forward(h)
            cache = fc_cache, norm_cache, relu_cache
        h, dropout_cache = dropout_forward(h, self.dropout_param)
        return h, (cache, dropout_cache)

    def hidden_backward(self, grads: dict[str, Array], dh: Array, caches: Any, i: int) -> Array:
        """The gradients of one hidden layer; returns that over its input."""
        cache, dropout_cache = caches
        dh = dropout_backward(dh, dropout_cache)
        if self.normalization is None:
            return self.store(grads, i, affine_relu_backward(dh, cache))
        fc_cache, norm_cache, relu_cache = cache
        norm = batchnorm_backward if self.normalization == "batchnorm" else layernorm_backward
        dh, grads[f"gamma{i}"], grads[f"beta{i}"] = norm(relu_backward(dh, relu_cache), norm_cache)
        return self.store(grads, i, affine_backward(dh, fc_cache))

    def store(self, grads: dict[str, Array], i: int, gradients: tuple[Array, Array, Array]) -> Array:
        """Keep dw and db of an affine layer; return its dx."""
        dx, grads[f"W{i}"], grads[f"b{i}"] = gradients
        return dx


def train(
    model: Any, x: Array, y: Array, epochs: int, batch_size: int, rule: str = "adam", **config: float
) -> list[float]:
    """Train as the assignments' Solver does: random batches, one config for each parameter."""
    update = getattr(optim, rule)
    configs: dict[str, dict[str, Any]] = {name: dict(config) for name in model.params}
    rng, losses = np.random.default_rng(0), []
    for _ in range(epochs * max(len(x) // batch_size, 1)):
        batch = rng.choice(len(x), batch_size)
        loss, grads = model.loss(x[batch], y[batch])
        losses.append(loss)
        for name, gradient in grads.items():
            model.params[name], configs[name] = update(model.params[name], gradient, configs[name])
    return losses


def accuracy(model: Any, x: Array, y: Array) -> float:
    """The share of the labels that have the highest score."""
    return float(np.mean(model.loss(x).argmax(axis=1) == y))


def main() -> None:
    """Train on four fifths of the digits and print the accuracy on the others."""
    images, digits = load_digits(return_X_y=True)
    x, order = images / 16, np.random.default_rng(0).permutation(len(images))
    held_out, training = order[: len(x) // 5], order[len(x) // 5 :]
    np.random.seed(0)  # noqa: NPY002 - the assignments' dropout draws from NumPy's global generator
    model = FullyConnectedNet([64, 128, 128, 10], normalization="batchnorm", keep=0.75)
    losses = train(model, x[training], digits[training], epochs=40, batch_size=64, learning_rate=2e-3)
    print(f"loss {losses[0]:.4f} at first, {np.mean(losses[-20:]):.4f} at the end")
    print(f"held-out accuracy {accuracy(model, x[held_out], digits[held_out]):.2%}")


if __name__ == "__main__":
    main()
