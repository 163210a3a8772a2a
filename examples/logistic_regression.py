"""Fit a logistic regression with `scipy.optimize.minimize`: the function and its gradient in one call, `jac=True`.

`wg.value_and_grad` returns just the pair that SciPy asks for, and `wg.hvp` the products with the Hessian that a Newton
method needs, without ever writing the matrix down.
"""

import numpy as np
from scipy.optimize import check_grad, minimize

import wengert as wg


def loss(w, X, y, ridge):
    """Negative log-likelihood of labels 0 and 1, with a ridge on all weights but the first (the intercept)."""
    z = X @ w
    return np.sum(np.logaddexp(0.0, z) - y * z) + 0.5 * ridge * np.sum(w[1:] ** 2)


def data(count, features, seed=0):
    """Draw features and labels of a known model."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(count), rng.normal(size=(count, features))])
    truth = np.concatenate([[0.5], rng.normal(size=features)])
    return X, (rng.uniform(size=count) < 1 / (1 + np.exp(-X @ truth))).astype(float), truth


def problem(count=30, features=4):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    X, y, _ = data(count, features)
    return loss, (np.linspace(-0.5, 0.5, features + 1), X, y, 0.1), (0,)


def main(iterations=50):
    X, y, truth = data(2000, 8)
    start = np.zeros(X.shape[1])
    arguments = (X, y, 1.0)
    error = check_grad(loss, wg.grad(loss), start, *arguments)
    print(f"gradient at the start: {error:.1e} from SciPy's finite differences\n")

    def hessian_product(w, v, *rest):
        return wg.hvp(lambda w: loss(w, *rest))(w, v)

    for method, extra in (("BFGS", {}), ("L-BFGS-B", {}), ("Newton-CG", {"hessp": hessian_product})):
        fit = minimize(
            wg.value_and_grad(loss), start, arguments, jac=True, method=method, options={"maxiter": iterations}, **extra
        )
        print(f"{method:9}  loss {fit.fun:.6f}  {fit.nit:3} steps  gradient {np.max(np.abs(fit.jac)):.1e}")
    print("\nweights:  ", np.round(fit.x, 2))
    print("made with:", np.round(truth, 2))
    print(f"{np.mean((X @ fit.x > 0) == (y > 0.5)):.1%} of the labels predicted")


if __name__ == "__main__":
    main()
