"""
Dead ReLUs by learning rate
===========================

With a learning rate that is too high, ReLU units are thrown off the data: they give 0 for every
sample, get no gradient any more, and stay dead.
"""

# %%
# A unit is dead if its output is 0 for the whole training set. Leaky ReLU has a gradient on both
# sides, so its units cannot die.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

EPOCHS = 10
RATES = np.logspace(-3, 0, 10)
data = train.prepare(datasets.digits())


def trained(activation, lr):
    """Return a network after a short training."""
    fastnn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 100), activation(), nn.Linear(100, 100), activation(), nn.Linear(100, 10)
    )
    optimizer = optim.Adam(model.parameters(), lr=lr)
    train.fit(model, (data.x_train, data.y_train), optimizer=optimizer, epochs=EPOCHS, divergence=np.inf)
    return model.eval()


def accuracy(model):
    """Return the accuracy on the test samples."""
    return train.evaluate(model, (data.x_test, data.y_test))["accuracy"]


models = [trained(nn.ReLU, lr) for lr in RATES]
dead = [[np.mean((model[:end](data.x_train) <= 0).all(axis=0)) for model in models] for end in (2, 4)]
accuracies = [accuracy(model) for model in models]
leaky = [accuracy(trained(nn.LeakyReLU, lr)) for lr in RATES]
for lr, first, second, score in zip(RATES, *dead, accuracies, strict=True):
    print(f"lr {lr:6.3f}: {first:4.0%} and {second:4.0%} of the units are dead, accuracy {score:4.0%}")

# %%

plt.style.use("petroff10")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.semilogx(RATES, dead[0], "o-", label="first hidden layer")
left.semilogx(RATES, dead[1], "s--", label="second hidden layer")
left.set(title="Share of dead ReLUs", xlabel="learning rate", ylim=(-0.03, 1.03))
right.semilogx(RATES, accuracies, "o-", label="ReLU")
right.semilogx(RATES, leaky, "s--", label="leaky ReLU")
right.set(title="Accuracy on test data", xlabel="learning rate", ylim=(-0.03, 1.03))
left.legend(), right.legend()
plt.show()
