"""
Ensembles and snapshots
=======================

The mean of several networks' probabilities is better than theirs. A cyclic learning rate gives several
networks in one training (Huang et al., 2017).
"""

# %%
# A fifth of the training labels is wrong, which makes a hard problem of the digits. The learning rate
# falls to 0 in each cycle, at whose end a snapshot of the weights is kept.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, ensemble, nn, optim, train
from fastnn.optim import lr_scheduler

MEMBERS, CYCLE = 8, 6  # epochs in a cycle
x, y = datasets.digits()
x = (x - x.mean(axis=0)).astype(np.float32) / 16  # 64 pixels of 0 to 16
rng = np.random.default_rng(0)
samples = x[:1000], np.where(rng.random(1000) < 0.2, rng.integers(0, 10, 1000), y[:1000])
test = x[1000:], y[1000:]


def trained(seed, cycles, callbacks=()):
    """Return a network after this many cycles of the learning rate, and the loss of each epoch."""
    fastnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.8, momentum=0.9, l2=1e-3)
    cyclic = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, CYCLE)
    options = {"optimizer": optimizer, "scheduler": cyclic, "epochs": cycles * CYCLE, "callbacks": callbacks}
    return model, [record["loss"] for record in train.fit(model, samples, divergence=np.inf, **options)]


snapshots = train.Snapshots()
_, losses = trained(0, MEMBERS, [snapshots])
groups = {"snapshots": list(snapshots.ensemble().models)}
groups["independent"] = [trained(seed, 1)[0] for seed in range(1, MEMBERS + 1)]

# %%

plt.style.use("petroff10")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.plot(range(1, MEMBERS * CYCLE + 1), losses)
for epoch in range(CYCLE, MEMBERS * CYCLE + 1, CYCLE):
    left.axvline(epoch, color="C2", linestyle=":")
left.set(xlabel="epoch", ylabel="training loss", title="One training, with a snapshot at each dotted line")
count = range(1, MEMBERS + 1)
for (name, models), marker, color in zip(groups.items(), "os", ("C0", "C2"), strict=True):
    together = [ensemble.Ensemble(models[:n]) for n in count]
    each, mean = ([train.evaluate(m, test)["accuracy"] for m in ms] for ms in (models, together))
    print(f"{name}: single networks {np.mean(each):.1%} on average, all {MEMBERS} together {mean[-1]:.1%}")
    right.plot(count, each, marker, fillstyle="none", color=color, label=f"{name}: number n")
    right.plot(count, mean, marker + "-", color=color, label=f"{name}: the first n together")
right.set(xlabel="n", ylabel="accuracy on test data", title="Networks and their ensembles", ylim=(0.8, 0.95))
right.legend()
plt.show()
