"""Catch a dishonest casino: fit a hidden Markov model by the gradient of its likelihood.

A croupier changes now and then between a fair die and a loaded one; only the rolls are seen.  The likelihood is the
forward algorithm (Rabiner 1989) in logarithms, with SciPy's `logsumexp`; the casino is that of Durbin et al. (1998),
*Biological Sequence Analysis*.  The gradient of the likelihood is all that is needed: what Baum and Welch compute by a
backward recursion of its own comes out of it.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

import wengert as wg

CHANGE = np.array([[0.95, 0.05], [0.10, 0.90]])
DICE = np.array([[1 / 6] * 6, [0.1] * 5 + [0.5]])


def log_softmax(scores):
    return scores - logsumexp(scores, axis=-1, keepdims=True)


def negative_log_likelihood(params, rolls):
    """Minus the log-likelihood of rolls (numbers from 0), averaged over the rolls."""
    change, dice = log_softmax(params["change"]), log_softmax(params["dice"])
    alpha = dice[:, rolls[0]] - np.log(len(change))
    for roll in rolls[1:]:
        alpha = logsumexp(alpha[:, None] + change, axis=0) + dice[:, roll]
    return -logsumexp(alpha) / len(rolls)


def viterbi(params, rolls):
    """Return the likeliest die for each roll."""
    change, dice = log_softmax(params["change"]), log_softmax(params["dice"])
    best, came_from = dice[:, rolls[0]], []
    for roll in rolls[1:]:
        ways = best[:, None] + change
        came_from.append(np.argmax(ways, axis=0))
        best = np.max(ways, axis=0) + dice[:, roll]
    path = [int(np.argmax(best))]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return np.array(path[::-1])


def play(count, seed=0):
    """Return rolls and the dice they were made with."""
    rng = np.random.default_rng(seed)
    die, dice, rolls = 0, [], []
    for _ in range(count):
        die = rng.choice(2, p=CHANGE[die])
        dice.append(die)
        rolls.append(rng.choice(6, p=DICE[die]))
    return np.array(rolls), np.array(dice)


def problem(count=15):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    rng = np.random.default_rng(1)
    params = {"change": 2 * np.eye(2) + 0.1 * rng.normal(size=(2, 2)), "dice": 0.5 * rng.normal(size=(2, 6))}
    return negative_log_likelihood, (params, play(count)[0]), (0,)


def main(iterations=30, count=600):
    rolls, dice = play(count, seed=1)
    gradient = wg.value_and_grad(negative_log_likelihood)

    def unpack(flat):
        return {"change": flat[:4].reshape(2, 2), "dice": flat[4:].reshape(2, 6)}

    def objective(flat):
        value, slope = gradient(unpack(flat), rolls)
        return value, np.concatenate([slope["change"].ravel(), slope["dice"].ravel()])

    start = np.concatenate([(2 * np.eye(2)).ravel(), np.zeros(11), [1.0]])
    fit = minimize(objective, start, jac=True, method="BFGS", options={"maxiter": iterations})
    params = unpack(fit.x)
    print(f"{count} rolls, log-likelihood {-count * objective(start)[0]:.1f} -> {-count * fit.fun:.1f}\n")
    for name, probabilities in zip(("fair", "loaded"), np.exp(log_softmax(params["dice"])), strict=True):
        print(f"{name:6} die:", "  ".join(f"{p:.2f}" for p in probabilities))
    path = viterbi(params, rolls)
    print(f"\nthe die is named rightly for {np.mean(path == dice):.0%} of the rolls")
    for k in range(0, min(count, 210), 70):
        print("rolls ", "".join(str(roll + 1) for roll in rolls[k : k + 70]))
        print("die   ", "".join("FL"[die] for die in dice[k : k + 70]))
        print("guess ", "".join("FL"[die] for die in path[k : k + 70]), "\n")


if __name__ == "__main__":
    main()
