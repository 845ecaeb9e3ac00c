"""
Random search against grid search
=================================

Some hyperparameters matter much more than others. With nine trainings a grid tries three values of
the one that matters, and random search nine (Bergstra and Bengio, 2012).
"""

# %%
# Two hyperparameters of a network for the digits: the learning rate, on which all depends, and the
# strength of L2 regularisation, which hardly matters within this range.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

EPOCHS = 4
CURVE = 25
LOW, HIGH = np.array([1e-4, 1e-8]), np.array([30.0, 1e-5])  # of learning rate and L2
data = train.prepare(datasets.digits())


def accuracy(lr, l2):
    """Return the accuracy on held-out data with these hyperparameters."""
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = optim.SGD(model.parameters(), lr=lr, l2=l2)
    train.fit(model, (data.x_train, data.y_train), optimizer=optimizer, epochs=EPOCHS, divergence=np.inf)
    return train.evaluate(model, (data.x_test, data.y_test))["accuracy"]


# %%
# Both are drawn in log space: a share of 0 is the lowest value, of 1 the highest, of 0.5 the geometric
# mean of both.

thirds = (1 / 6, 1 / 2, 5 / 6)
shares = {
    "grid": np.array([(first, second) for first in thirds for second in thirds]),
    "random": np.random.default_rng(1).random((9, 2)),
}
rates = np.geomspace(LOW[0], HIGH[0], CURVE)
curve = [accuracy(lr, 0.0) for lr in rates]

plt.style.use("petroff10")
figure, axes = plt.subplots(2, 2, figsize=(9, 5.5), sharex=True, sharey="row", layout="constrained")
for (top, bottom), (name, points) in zip(axes.T, shares.items(), strict=True):
    lr, l2 = (LOW * (HIGH / LOW) ** points).T
    values = [accuracy(*trial) for trial in zip(lr, l2, strict=True)]
    print(f"{name}: {len(set(lr))} learning rates, best accuracy {max(values):.1%}")
    top.semilogx(rates, curve)
    top.plot(lr, values, "o", color="C2")
    top.vlines(lr, 0, values, color="C2", linewidth=0.8)
    top.set(title=f"{name}: {len(set(lr))} learning rates, best {max(values):.1%}", ylim=(0, 1.05))
    bottom.loglog(lr, l2, "o", color="C2")
    bottom.set(xlabel="learning rate (important)")
axes[0, 0].set_ylabel("accuracy")
axes[1, 0].set_ylabel("L2 (unimportant)")
plt.show()
