"""Learn a rhyme by heart: a recurrent network with long short-term memory, its parameters in nested dicts.

The cell is that of Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000).  `wg.value_and_grad`
takes the dict of dicts and returns the gradient as one, and the update walks both.
"""

from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

import wengert as wg

TEXT = "a rose is a rose is a rose. "
GATES = ("forget", "input", "output", "change")


def sigmoid(x):
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def initial(symbols, hidden, rng):
    """Draw the parameters: a weight matrix and a bias for each gate, and for the prediction."""

    def layer(inputs, outputs):
        return {"W": rng.normal(size=(inputs, outputs)) / np.sqrt(hidden), "b": np.zeros(outputs)}

    params = {gate: layer(symbols + hidden, hidden) for gate in GATES}
    params["predict"] = layer(hidden, symbols)
    params["start"] = {"hidden": np.zeros(hidden), "cell": np.zeros(hidden)}
    return params


def step(params, x, hidden, cell):
    """Read one symbol of each sequence; return the new state and the log-probabilities of the next symbol."""
    both = np.concatenate([x, hidden], axis=1)

    def layer(name):
        return both @ params[name]["W"] + params[name]["b"]

    forget, read, write = sigmoid(layer("forget")), sigmoid(layer("input")), sigmoid(layer("output"))
    cell = forget * cell + read * np.tanh(layer("change"))
    hidden = write * np.tanh(cell)
    scores = hidden @ params["predict"]["W"] + params["predict"]["b"]
    return hidden, cell, scores - logsumexp(scores, axis=1, keepdims=True)


def loss(params, sequences):
    """Mean surprise, in nats a symbol, at sequences of symbols in one-hot form: (time, sequence, symbol)."""
    count = sequences.shape[1]
    hidden = np.repeat(params["start"]["hidden"][None, :], count, axis=0)
    cell = np.repeat(params["start"]["cell"][None, :], count, axis=0)
    total = 0.0
    for now, following in pairwise(sequences):
        hidden, cell, log_probabilities = step(params, now, hidden, cell)
        total = total - np.sum(log_probabilities * following)
    return total / (count * (len(sequences) - 1))


def one_hot(text, alphabet):
    return np.array([[float(letter == other) for other in alphabet] for letter in text])


def windows(text, length, count):
    """Cut sequences out of a text that is repeated endlessly: (time, sequence, symbol)."""
    alphabet = sorted(set(text))
    starts = [k * len(text) // count for k in range(count)]
    return np.stack(
        [one_hot((text * (2 + length // len(text)))[s : s + length], alphabet) for s in starts], axis=1
    ), alphabet


def problem(hidden=4, length=6, count=3):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    sequences, alphabet = windows(TEXT, length, count)
    return loss, (initial(len(alphabet), hidden, np.random.default_rng(0)), sequences), (0,)


def recite(params, alphabet, length):
    """Start with the first letter and always take the likeliest next one."""
    hidden, cell = params["start"]["hidden"][None, :], params["start"]["cell"][None, :]
    text = TEXT[0]
    for _ in range(length):
        hidden, cell, log_probabilities = step(params, one_hot(text[-1], alphabet), hidden, cell)
        text += alphabet[np.argmax(log_probabilities[0])]
    return text


def main(iterations=150, hidden=20):
    sequences, alphabet = windows(TEXT, 24, 7)
    params = initial(len(alphabet), hidden, np.random.default_rng(1))
    speed = {name: {key: np.zeros_like(p) for key, p in group.items()} for name, group in params.items()}
    gradient = wg.value_and_grad(loss)
    for k in range(iterations + 1):
        value, slopes = gradient(params, sequences)
        for name, group in params.items():
            for key in group:
                speed[name][key] = 0.9 * speed[name][key] - 0.4 * slopes[name][key]
                group[key] = group[key] + speed[name][key]
        if k % 50 == 0 or k == iterations:
            print(f"step {k:3}: {value:.3f} nats a letter   {recite(params, alphabet, 55)!r}")


if __name__ == "__main__":
    main()
