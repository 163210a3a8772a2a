"""Learn to write: a recurrent network reads the Zen of Python letter by letter, in a loop that is one line of a trace.

The same long short-term memory goes through the letters by `wg.scan` and by a plain Python `for`.  Both give the same
gradient; the trace of the first does not grow with the text, and that of the second is folded into such a loop again.
"""

import codecs
import contextlib
import io

import numpy as np
from scipy.special import logsumexp

import wengert as wg

with contextlib.redirect_stdout(io.StringIO()):
    import this  # it is printed when it is imported

TEXT = codecs.decode(this.s, "rot13")
ALPHABET = sorted(set(TEXT))


def sigmoid(x):
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def initial(hidden, rng):
    """Draw the parameters: one matrix for the four gates, one for the prediction."""
    symbols = len(ALPHABET)
    gates = rng.normal(size=(symbols + hidden, 4 * hidden)) / np.sqrt(hidden)
    predict = rng.normal(size=(hidden, symbols)) / np.sqrt(hidden)
    return {"gates": gates, "bias": np.zeros(4 * hidden), "predict": predict}


def cell(params, state, x):
    """Read one letter of each window; return the new state."""
    hidden, memory = state
    size = hidden.shape[1]
    gates = np.concatenate([x, hidden], axis=1) @ params["gates"] + params["bias"]
    forget, read, write = [sigmoid(gates[:, k * size : (k + 1) * size]) for k in range(3)]
    memory = forget * memory + read * np.tanh(gates[:, 3 * size :])
    return write * np.tanh(memory), memory


def surprise(params, hidden, following):
    """Nats of surprise at the letters that follow."""
    scores = hidden @ params["predict"]
    return -np.sum(following * (scores - logsumexp(scores, axis=1, keepdims=True)))


def loss(params, windows):
    """Mean surprise, in nats a letter, at windows of the text in one-hot form: (time, window, letter)."""
    start = np.zeros((windows.shape[1], params["predict"].shape[0]))

    def step(state, letters):
        now, following = letters
        state = cell(params, state, now)
        return state, surprise(params, state[0], following)

    _, surprises = wg.scan(step, (start, start), (windows[:-1], windows[1:]))
    return np.sum(surprises) / (windows.shape[1] * (windows.shape[0] - 1))


def unrolled_loss(params, windows):
    """The same by a plain loop."""
    start = np.zeros((windows.shape[1], params["predict"].shape[0]))
    state, total = (start, start), 0.0
    for t in range(len(windows) - 1):
        state = cell(params, state, windows[t])
        total = total + surprise(params, state[0], windows[t + 1])
    return total / (windows.shape[1] * (windows.shape[0] - 1))


def windows_of(text, length, count, rng):
    """Cut windows out of the text at random: (time, window, letter)."""
    starts = rng.integers(0, len(text) - length, count)
    places = np.array([[ALPHABET.index(letter) for letter in text[s : s + length]] for s in starts])
    return np.eye(len(ALPHABET))[places.T]


def write(params, start, length, rng, temperature=0.5):
    """Let the network write: each letter is drawn from what it predicts, and read next."""
    size = params["predict"].shape[0]
    state, written = (np.zeros((1, size)), np.zeros((1, size))), start
    for k in range(length):
        state = cell(params, state, np.eye(len(ALPHABET))[[ALPHABET.index(written[k])]])
        if k + 1 == len(written):
            scores = (state[0] @ params["predict"])[0] / temperature
            written += ALPHABET[rng.choice(len(ALPHABET), p=np.exp(scores - logsumexp(scores)))]
    return written


def problem(hidden=3, length=6, count=2):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    rng = np.random.default_rng(0)
    return loss, (initial(hidden, rng), windows_of(TEXT, length, count, rng)), (0,)


def main(iterations=400, hidden=64, length=40, count=24, rate=0.01):
    rng = np.random.default_rng(1)
    params = initial(hidden, rng)
    windows = windows_of(TEXT, length, count, rng)
    rolled, unrolled = wg.grad(loss)(params, windows), wg.grad(unrolled_loss)(params, windows)
    difference = max(np.max(np.abs(rolled[name] - unrolled[name])) for name in params)
    assert difference < 1e-12
    print(f"gradients by scan and by a plain loop differ by {difference:.0e}")
    plan = str(wg.plan(unrolled_loss, 0)(params, windows))
    folded = next((row for row in plan.splitlines() if "folded" in row), "nothing is folded")
    print(f"the plain loop: {folded}\n")

    gradient = wg.value_and_grad(loss)
    means, squares = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    for k in range(1, iterations + 1):
        value, slopes = gradient(params, windows_of(TEXT, length, count, rng))
        for name, slope in slopes.items():  # Adam (Kingma & Ba 2015)
            means[name] = 0.9 * means[name] + 0.1 * slope
            squares[name] = 0.999 * squares[name] + 0.001 * slope**2
            root = np.sqrt(squares[name] / (1 - 0.999**k))
            params[name] = params[name] - rate * means[name] / (1 - 0.9**k) / (root + 1e-8)
        if k % max(iterations // 8, 1) == 0:
            print(f"{k:4} steps  {value:.3f} nats a letter  {write(params, 'T', 40, rng)!r}")
    print("\n" + write(params, "Beautiful", 400, rng, temperature=0.3))


if __name__ == "__main__":
    main()
