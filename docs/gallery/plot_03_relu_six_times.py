"""
ReLU against tanh and sigmoid on the same net: the 6x
=====================================================

Krizhevsky et al. (2012) reached the same training error with ReLU six times as fast as with tanh.
On the digits ReLU and tanh are level, and sigmoid takes three times as long: the factor is one of
net and data, so measure yours.
"""

# %%
# The same net with four hidden layers is trained with each activation. Each gets the initial weights
# that suit it, and the best of several learning rates: one for all would favour one of them.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, init, nn, optim, train

EPOCHS = 25
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
data = train.prepare(datasets.digits())


def training_errors(activation, initialise, lr):
    """Return the error on the training data in each epoch."""
    fastnn.manual_seed(0)
    model = nn.Sequential()
    for _ in range(4):
        linear = nn.Linear(64, 64)
        initialise(linear.weight)
        model.extend([linear, activation()])
    model.append(nn.Linear(64, 10))
    optimizer = optim.Adam(model.parameters(), lr=lr)
    samples = (data.x_train, data.y_train)
    history = train.fit(model, samples, optimizer=optimizer, epochs=EPOCHS, batch_size=128)
    return np.array([1 - record["accuracy"] for record in history])


def first_epoch(errors):  # with an error below 5%
    return int(np.argmax(errors < 0.05)) + 1 if errors.min() < 0.05 else np.inf


# %%

plt.style.use("petroff10")
figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
nets = ((nn.ReLU, init.kaiming_normal_), (nn.Tanh, init.xavier_normal_), (nn.Sigmoid, init.xavier_normal_))
for (activation, initialise), line in zip(nets, ("-", "--", ":"), strict=True):
    runs = [training_errors(activation, initialise, lr) for lr in RATES]
    best = min(runs, key=lambda errors: (first_epoch(errors), errors.sum()))
    name = activation.__name__
    print(f"{name}: training error below 5% after {first_epoch(best)} epochs")
    axis.semilogy(range(1, EPOCHS + 1), best, line, linewidth=2, label=f"{name}: {first_epoch(best)} epochs")
axis.axhline(0.05, color="0.5", linewidth=0.8)
axis.set(xlabel="epoch", ylabel="training error", ylim=(1e-3, 1.1))
axis.set_title("Epochs until the training error is below 5%")
axis.legend()
plt.show()
