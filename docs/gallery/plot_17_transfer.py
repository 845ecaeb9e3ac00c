"""
Transfer learning
=================

With few samples, train the last layer of a network that knows similar data; with more, all layers.
"""

# %%
# A network learns the digits 0 to 4, at any place in 12 x 12 pixels, and then 5 to 9 from few samples.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

EPOCHS, SEEDS, COPIES, COUNTS = 30, 2, 10, (1, 3, 10, 30)  # COUNTS: samples of each class
images, y = datasets.digits()
old, new, test = np.flatnonzero(y < 5), np.flatnonzero(y >= 5)[:450], np.flatnonzero(y >= 5)[450:]


def shifted(rows, rng):
    """Return these digits at random places in 12 x 12 pixels, and their labels, 0 to 4."""
    x = np.pad(images[rows].reshape(-1, 1, 8, 8) / 16, ((0, 0), (0, 0), (2, 2), (2, 2)))
    moves = rng.integers(-2, 3, (len(rows), 2))
    x = [np.roll(image, move, axis=(1, 2)) for image, move in zip(x, moves, strict=True)]
    return np.array(x, np.float32), y[rows] % 5


def network():
    first = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(nn.Sequential(*first, *second, nn.Linear(288, 64), nn.ReLU()), nn.Linear(64, 5))


def accuracy(way, count, seed):
    fastnn.manual_seed(seed)
    model, rng = network(), np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(new[y[new] == digit], count, replace=False) for digit in range(5, 10)])
    if way != "from scratch":
        model[0].load_state_dict(pretrained[0].state_dict())
        model[0].requires_grad_(way == "all layers")  # False freezes the features
    optimizer = optim.Adam(model.parameters(), lr=3e-3 if way == "last layer" else 1e-3)
    train.fit(model, shifted(rows, rng), optimizer=optimizer, epochs=EPOCHS, batch_size=16)
    return train.evaluate(model, shifted(test, rng))["accuracy"]


fastnn.manual_seed(0)
pretrained = network()
train.fit(pretrained, shifted(np.tile(old, COPIES), np.random.default_rng(0)), epochs=5)
plt.style.use("petroff10")
figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
for way, line in (("from scratch", "o:"), ("last layer", "s-"), ("all layers", "^--")):
    means = [np.mean([accuracy(way, count, seed) for seed in range(SEEDS)]) for count in COUNTS]
    print(way, *(f"{count}: {mean:.1%}" for count, mean in zip(COUNTS, means, strict=True)))
    axis.semilogx(COUNTS, means, line, label=way)
axis.set(xlabel="samples of each class", ylabel="accuracy", title="The digits 5 to 9, after 0 to 4")
axis.set_xticks(COUNTS, COUNTS)
axis.legend(title="trained")
plt.show()
