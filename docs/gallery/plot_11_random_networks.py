"""
DropConnect, stochastic depth, fractional pooling, mixup
========================================================

Noise in training, its average at test time: the network cannot learn wrong labels by heart.
"""

# %%
# DropConnect drops weights, stochastic depth branches of residual blocks; fractional pooling draws its
# regions; mixup mixes two samples and their labels. ``ways`` has networks without and with each of them.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import augment, datasets, nn, train

EPOCHS, SEEDS = 30, 2
x, y = datasets.digits()
x = (x - x.mean(axis=0)).astype(np.float32).reshape(-1, 1, 8, 8) / 16
rng = np.random.default_rng(0)
labels = np.where(rng.random(500) < 0.3, rng.integers(0, 10, 500), y[:500])
samples, test = (x[:500], labels), (x[500:], y[500:])  # three in ten training labels are random


def mlp(p):
    first, second = (nn.DropConnect(nn.Linear(*size), p) for size in ((64, 200), (200, 10)))
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


def residual(p):
    branches = [nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.DropPath(p)) for _ in range(8)]
    return nn.Sequential(nn.Flatten(), *map(nn.Residual, branches), nn.Linear(64, 10))


def cnn(pool, size):
    layers = nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), pool, nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(64 * size * size, 10))


ways = {
    "DropConnect": (lambda: mlp(0.0), lambda: mlp(0.5), None),
    "stochastic depth": (lambda: residual(0.0), lambda: residual(0.5), None),
    "fractional pool": (lambda: cnn(nn.MaxPool2d(2), 4), lambda: cnn(nn.FractionalMaxPool2d(2, 5), 5), None),
    "mixup": (lambda: mlp(0.0), lambda: mlp(0.0), augment.MixUp(alpha=1.0, num_classes=10)),
}
plt.style.use("petroff10")
figure, axes = plt.subplots(1, 4, figsize=(12, 3.8), sharey=True, layout="constrained")
for (name, (without, network, mixup)), axis in zip(ways.items(), axes, strict=True):
    for title, make, transform, line in (("without", without, None, "--"), ("with", network, mixup, "-")):
        accuracy = np.zeros(EPOCHS)
        for seed in range(SEEDS):
            fastnn.manual_seed(seed)
            history = train.fit(make(), samples, validation=test, transform=transform, epochs=EPOCHS)
            accuracy += [record["val_accuracy"] / SEEDS for record in history]
        print(f"{title} {name}: {accuracy[-5:].mean():.1%} in the last five epochs")
        axis.plot(range(1, EPOCHS + 1), accuracy, line, label=title)
    axis.set(title=name, xlabel="epoch", ylabel="accuracy on test data")
    axis.legend(loc="lower right")
plt.show()
