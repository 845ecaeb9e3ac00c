"""
Batch normalisation, by learning rate and depth
===============================================

Batch normalisation makes deep networks trainable, allows higher learning rates, and makes the
choice of both less delicate.
"""

# %%
# Networks of 1 to 16 hidden layers, all with He's weights, are trained for a few epochs. A training
# that diverges counts as guessing, 10%.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, init, nn, optim, train

EPOCHS = 6
RATES = (0.01, 0.03, 0.1, 0.3, 1, 3)
DEPTHS = (1, 2, 4, 8, 16)
data = train.prepare(datasets.digits())


def accuracy(depth, lr, batch_norm):
    """Return the accuracy on test data."""
    fastnn.manual_seed(0)
    model = nn.Sequential()
    for features in [64] + [50] * (depth - 1):
        model.append(nn.Linear(features, 50))
        init.kaiming_normal_(model[-1].weight, nonlinearity="relu")
        if batch_norm:
            model.append(nn.BatchNorm1d(50))
        model.append(nn.ReLU())
    model.append(nn.Linear(50, 10))
    optimizer = optim.SGD(model.parameters(), lr=lr)
    try:
        train.fit(model, (data.x_train, data.y_train), optimizer=optimizer, epochs=EPOCHS)
    except train.Diverged:
        return 0.1
    return train.evaluate(model, (data.x_test, data.y_test))["accuracy"]


# %%

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axis, batch_norm, title in zip(axes, (False, True), ("without", "with"), strict=True):
    table = np.array([[accuracy(depth, lr, batch_norm) for lr in RATES] for depth in DEPTHS])
    print(f"{title} batch norm: above 90% in {(table > 0.9).sum()} of {table.size} trainings")
    axis.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        axis.text(column, row, f"{value:.0%}", ha="center", va="center", color="k" if value > 0.6 else "w")
    axis.set(title=f"Accuracy {title} batch norm", xlabel="learning rate")
    axis.set_xticks(range(len(RATES)), RATES)
axes[0].set(ylabel="hidden layers")
axes[0].set_yticks(range(len(DEPTHS)), DEPTHS)
plt.show()
