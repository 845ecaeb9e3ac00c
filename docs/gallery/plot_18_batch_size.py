"""
Batch size and linear scaling
=============================

A batch k times as large makes k times fewer steps. With the same learning rate the network falls
behind; with k times the rate, and a warm-up, it keeps up (Goyal et al., 2017), up to a limit.
"""

# %%
# All runs see each sample equally often. The learning rate is 0.1 for a batch of 16.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train
from fastnn.optim import lr_scheduler

EPOCHS = 15
SEEDS = 3
SIZES = (16, 32, 64, 128, 256, 512, 1024)
data = train.prepare(datasets.digits())


def accuracy(batch_size, scaled, seed):
    """Return the accuracy on test data."""
    fastnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    warm_up = 3 * train.steps_per_epoch(len(data.x_train), batch_size)  # three epochs
    scale = lr_scheduler.scaled_for_batch(optimizer, batch_size, 16, warm_up) if scaled else None
    train.fit(
        model,
        (data.x_train, data.y_train),
        optimizer=optimizer,
        scheduler=scale,
        schedule_per="step",
        epochs=EPOCHS,
        batch_size=batch_size,
    )
    return train.evaluate(model, (data.x_test, data.y_test))["accuracy"]


# %%

plt.style.use("petroff10")
figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
for name, scaled, line in (("0.1 for all sizes", False, "o--"), ("0.1 · size / 16, warm-up", True, "s-")):
    means = [np.mean([accuracy(size, scaled, seed) for seed in range(SEEDS)]) for size in SIZES]
    print(name, *(f"{size}: {mean:.1%}" for size, mean in zip(SIZES, means, strict=True)))
    axis.semilogx(SIZES, means, line, label=f"learning rate {name}")
axis.set(xlabel="batch size", ylabel="accuracy on test data", title=f"After {EPOCHS} epochs")
axis.set_xticks(SIZES, SIZES)
axis.minorticks_off()
axis.legend()
plt.show()
