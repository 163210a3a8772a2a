"""Write the gallery: ten functions, each as a page of its own that steps through its chain rule.

``make gallery`` runs it: pages go to build/gallery, and with ``--pictures`` their screenshots to docs/images, by
headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

import wengert as wg

ROOT = Path(__file__).parents[1]
PAGES, PICTURES = ROOT / "build" / "gallery", ROOT / "docs" / "images"
SHOWN = {
    "reference": ("slide", "", 0),
    "bow_tie": ("elimination", "", 0),
    "sparse_equation": ("sparsity", "", 0),
    "recurrent_cell": ("walk", "Side by side", 9),
}
"""The part of a page that its picture shows, the mode that is chosen there, and the steps that are taken."""


class Entry(NamedTuple):
    """A function, the arguments at which it is explained, and those that it is differentiated by."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...] | int | None = None


# ---- The functions ----


def reference(x):
    """The example of the reference text."""
    y_1 = x[0] * (x[1] - x[2])
    y_2 = x[2] * np.log(1 - x[0])
    return np.array([y_1, y_2])


square_of = wg.define("h", lambda x: x * x, lambda _y, x: 2 * x)
sine_of = wg.define("g", np.sin, lambda _y, x: np.cos(x))
exponential_of = wg.define("f", np.exp, lambda y, _x: y)


def chain(x):
    """f(g(h(x)))."""
    return exponential_of(sine_of(square_of(x)))


def network(params, x, target):
    """The loss of a network of two layers."""
    hidden = np.tanh(x @ params["W1"] + params["b1"])
    scores = hidden @ params["W2"] + params["b2"]
    return np.mean((scores - target) ** 2)


def robot_arm(angles):
    """The position of the hand of an arm of three links in a plane."""
    turned = angles[0]
    x, y = 1.0 * np.cos(turned), 1.0 * np.sin(turned)
    turned = turned + angles[1]
    x, y = x + 0.7 * np.cos(turned), y + 0.7 * np.sin(turned)
    turned = turned + angles[2]
    return np.array([x + 0.4 * np.cos(turned), y + 0.4 * np.sin(turned)])


def kalman_step(mean, covariance, measured):
    """The negative log-likelihood of one measurement, after a step of constant speed."""
    F, H = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    mean, P = F @ mean, F @ covariance @ F.T + 0.01 * np.eye(2)
    innovation = measured - H @ mean
    S = H @ P @ H.T + 0.1 * np.eye(1)
    return 0.5 * innovation @ np.linalg.solve(S, innovation) + 0.5 * np.log(np.linalg.det(S))


def recurrent_cell(h, x, W, U, b):
    """The next state of a recurrent network."""
    return np.tanh(W @ h + U @ x + b)


def black_scholes(market):
    """The price of a European call."""
    spot, strike, rate, volatility, years = market
    spread = volatility * np.sqrt(years)
    d_1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d_2 = d_1 - spread
    return spot * ndtr(d_1) - strike * np.exp(-rate * years) * ndtr(d_2)


def fixed_point(a):
    """The square root, by Heron's iteration until it stands."""
    x = a
    while abs(x * x - a) > 1e-9:
        x = 0.5 * (x + a / x)
    return x


def bow_tie(x):
    """Four inputs, through one number, to four outputs: neither forward nor reverse is best."""
    waist = np.log(x[0] * x[1] + x[2] * x[3])
    return np.array([np.sin(waist), np.cos(waist), np.exp(waist), waist * waist])


def sparse_equation(u):
    """The residual of u'' = exp(u) on a grid, which is zero at both ends."""
    left, right = np.concatenate([[0.0], u[:-1]]), np.concatenate([u[1:], [0.0]])
    return left - 2.0 * u + right - 0.01 * np.exp(u)


def entries() -> dict[str, Entry]:
    """Return the entries of the gallery by the names of their pages."""
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(4, 8)), "b1": np.zeros(8), "W2": rng.normal(size=(8, 3)), "b2": np.zeros(3)}
    return {
        "reference": Entry(reference, (np.array([0.5, 2.0, 3.0]),)),
        "chain": Entry(chain, (0.7,)),
        "network": Entry(network, (params, rng.normal(size=(16, 4)), rng.normal(size=(16, 3))), 0),
        "robot_arm": Entry(robot_arm, (np.array([0.3, 0.5, -0.4]),)),
        "kalman_step": Entry(kalman_step, (np.array([1.0, 0.5]), 0.2 * np.eye(2), np.array([1.2])), (0, 1)),
        "recurrent_cell": Entry(
            recurrent_cell,
            (np.zeros(3), np.ones(2), rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), np.zeros(3)),
            (0, 1),
        ),
        "black_scholes": Entry(black_scholes, (np.array([100.0, 95.0, 0.02, 0.3, 0.5]),)),
        "fixed_point": Entry(fixed_point, (2.0,)),
        "bow_tie": Entry(bow_tie, (np.array([1.0, 2.0, 0.5, 3.0]),)),
        "sparse_equation": Entry(sparse_equation, (np.sin(np.linspace(0.1, 3.0, 12)),)),
    }


# ---- Pages and pictures ----


def write_pages(folder: Path) -> list[Path]:
    """Write the page of each entry, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, entry in entries().items():
        paths.append(folder / f"{name}.html")
        wg.explain(entry.function, entry.argnums)(*entry.args).save(paths[-1])
    return paths


def take_pictures(pages: Iterable[Path], folder: Path) -> None:
    """Take a screenshot of each page at the part that it is best known for, some steps into a pass."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1240, "height": 820}, color_scheme="light")
        for page in pages:
            part, button, steps = SHOWN.get(page.stem, ("walk", "Reverse", 7))
            tab.goto(page.resolve().as_uri())
            tab.locator(f"#{part}").wait_for()
            if button:
                tab.get_by_role("radio", name=button).or_(tab.get_by_role("button", name=button)).first.click()
            for _ in range(steps):
                tab.locator("#step").click()
            tab.locator(f"#{part}").evaluate("part => part.scrollIntoView()")
            tab.wait_for_timeout(500)  # graphs are laid out when they come into sight
            tab.locator(f"#{part}").evaluate("part => part.scrollIntoView()")
            tab.screenshot(path=folder / f"{page.stem}.png")
        browser.close()


def main() -> None:
    """Write the pages, and take the pictures where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="take the screenshots anew")
    asked = parser.parse_args()
    pages = write_pages(PAGES)
    print(*[page.relative_to(ROOT) for page in pages], sep="\n")
    if asked.pictures:
        take_pictures(pages, PICTURES)


if __name__ == "__main__":
    main()
