"""
Coarse to fine
==============

First many short trainings over wide ranges, to see where it works at all; then longer ones in the
narrow ranges around the best.
"""

# %%
# Learning rate and L2 regularisation are drawn in log space. The fine search draws from the ranges of
# the best fifth of the coarse one, and trains longer.

import matplotlib.pyplot as plt
import numpy as np

from fastnn import datasets, nn, optim, search, train

EPOCHS = {"coarse": 2, "fine": 10}
TRIALS = 40
x, y = datasets.digits()
x = (x - x.mean(axis=0)).astype(np.float32) / 16  # 64 pixels of 0 to 16


def objective(epochs):
    """Return the function to maximise: the accuracy on held-out data after these epochs."""

    def accuracy(params, trial):
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = optim.SGD(model.parameters(), momentum=0.9, **params)
        train.fit(model, (x[:1200], y[:1200]), optimizer=optimizer, epochs=epochs)
        return train.evaluate(model, (x[1200:], y[1200:]))["accuracy"]

    return accuracy


# %%
# A training whose loss explodes counts as pruned, and has no accuracy.

plt.style.use("petroff10")
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
ranges = {"lr": search.loguniform(1e-5, 10), "l2": search.loguniform(1e-6, 1)}
for axis, (stage, epochs) in zip(axes, EPOCHS.items(), strict=True):
    study = search.open(name=stage, direction="maximize")
    study.run(objective(epochs), ranges, TRIALS)
    lr, l2, values = zip(*((t.params["lr"], t.params["l2"], t.value) for t in study.ranked), strict=True)
    print(f"{stage}: {len(values)} of {TRIALS} trials came to their end, best accuracy {values[0]:.1%}")
    points = axis.scatter(lr, l2, c=values, cmap="cividis", edgecolor="0.4")
    figure.colorbar(points, label="accuracy")
    axis.plot(lr[0], l2[0], "o", markersize=14, fillstyle="none", color="C2", markeredgewidth=2)
    axis.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="L2")
    axis.set_title(f"{stage}: {epochs} epochs, best {values[0]:.1%}")
    ranges = study.narrowed()
(coarse, fine), (x0, x1), (y0, y1) = axes, axes[1].get_xlim(), axes[1].get_ylim()
coarse.fill([x0, x1, x1, x0], [y0, y0, y1, y1], fill=False, edgecolor="C2", label="ranges of the fine search")
coarse.margins(y=0.2)
coarse.legend(loc="lower left")
plt.show()
