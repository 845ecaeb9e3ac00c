"""
Learning rates: too low, good, high, exploding
==============================================

The loss tells how the learning rate is: too low, and it hardly falls; high, and it falls at once but
then jumps up and down; too high, and it explodes.
"""

# %%
# The same network, from the same weights, with four learning rates. ``train.fit`` stops with an error
# when the loss is above three times its first value. Here the explosion is to be seen, so this limit is
# infinite; NaN still stops the training.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

EPOCHS = 10
rates = {"too low": 0.003, "good": 0.2, "high": 0.9, "exploding": 2.0}
data = train.prepare(datasets.digits())


class Losses(train.Callback):
    """Keeps the loss of every step."""

    def __init__(self):
        self.values = []

    def on_step(self, trainer):
        self.values.append(trainer.step_loss)


def losses(lr):
    """Return the loss of every step, until the end or until it is no number any more."""
    fastnn.manual_seed(0)
    hidden = nn.Linear(64, 50), nn.LeakyReLU(), nn.Linear(50, 50), nn.LeakyReLU()
    model = nn.Sequential(*hidden, nn.Linear(50, 10))
    optimizer, kept = optim.SGD(model.parameters(), lr=lr), Losses()
    samples = (data.x_train, data.y_train)
    try:
        train.fit(model, samples, optimizer=optimizer, epochs=EPOCHS, divergence=np.inf, callbacks=[kept])
    except train.Diverged as error:
        print(error)
    return np.array(kept.values)


# %%

plt.style.use("petroff10")
figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (name, lr), line in zip(rates.items(), ("-", "--", "-.", ":"), strict=True):
    values = losses(lr)
    print(f"{name}: mean loss {values[-45:].mean():.3g} in the last 45 steps")
    smooth = np.convolve(values, np.ones(15) / 15, mode="valid")
    axis.semilogy(smooth, line, linewidth=2, label=f"{name}: {lr:g}")
axis.set(xlabel="step", ylabel="training loss, mean of 15 steps", ylim=(3e-3, 3e4))
axis.legend(title="learning rate")
plt.show()
