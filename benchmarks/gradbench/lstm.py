"""lstm: the loss of a network of long short-term memory whose weights are diagonal; the gradient by its parameters.

A layer goes over the whole sequence before the next one does, so that what does not depend on the state is computed
for all times at once.
"""

from __future__ import annotations

import numpy as np

import wengert as wg


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer(inputs, hidden, cell, weight, bias):
    """Return the hidden states of all times; the rows of weight and bias are those of forget, in, out and change."""
    forget = sigmoid(inputs * weight[0] + bias[0])
    out = sigmoid(inputs * weight[2] + bias[2])

    def step(state, gates):
        hidden, cell = state
        forget, out = gates
        entering = sigmoid(hidden * weight[1] + bias[1]) * np.tanh(hidden * weight[3] + bias[3])
        cell = cell * forget + entering
        hidden = out * np.tanh(cell)
        return (hidden, cell), hidden

    return wg.scan(step, (hidden, cell), (forget, out))[1]


def loss(main_params, extra_params, state, sequence):
    values = sequence[:-1] * extra_params[0]
    for k in range(0, len(main_params), 2):
        weight, bias = main_params[k].reshape(4, -1), main_params[k + 1].reshape(4, -1)
        values = layer(values, state[k], state[k + 1], weight, bias)
    predicted = values * extra_params[1] + extra_params[2]
    normalized = predicted - np.log(np.sum(np.exp(predicted), axis=1, keepdims=True) + 2)
    return -np.mean(sequence[1:] * normalized)


def arguments(data):
    return tuple(np.array(data[name]) for name in ("main_params", "extra_params", "state", "sequence"))


def answer(result):
    return np.concatenate([part.ravel() for part in result]) if isinstance(result, tuple) else result


FUNCTIONS = {"objective": wg.jit(loss), "jacobian": wg.jit(wg.grad(loss, argnums=(0, 1)))}
