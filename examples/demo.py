"""Why do we use backpropagation?  The reference example, a network on 1,797 real images, and where neither order wins.

Run:  make demo     (or: pip install "wengert[demo]" and python examples/demo.py)
"""

import statistics
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import wengert as wg

try:
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit('The images come with scikit-learn: pip install "wengert[demo]"') from None

HIDDEN = 64
STEPS = 300
SAMPLE = 200
console = Console(highlight=False, soft_wrap=True)


# ---- The functions: plain NumPy ----


def f(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def residual(x):
    """Return what a chain of springs leaves unbalanced: a tridiagonal Jacobian."""
    return 2 * x[1:-1] - np.sin(x[1:-1]) - x[:-2] * x[2:]


def unpack(w, inputs=64, hidden=HIDDEN, classes=10):
    """Cut the vector of all parameters into the weights and biases of two layers."""
    sizes = np.cumsum([inputs * hidden, hidden, hidden * classes])
    W1, b1, W2, b2 = np.split(w, sizes)
    return W1.reshape(inputs, hidden), b1, W2.reshape(hidden, classes), b2


def scores(w, images):
    """Return the score of each class for each image."""
    W1, b1, W2, b2 = unpack(w)
    return np.tanh(images @ W1 + b1) @ W2 + b2


def cross_entropy(w, images, labels):
    """Return the mean negative log-probability of the right labels."""
    z = scores(w, images)
    z = z - np.max(z, axis=1, keepdims=True)
    log_probability = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(log_probability[np.arange(len(labels)), labels])


# ---- The data ----


def digits(seed=0):
    """Return training and test images (pixels between 0 and 1) and their labels, split 3 : 1."""
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images, labels = data.data[order] / 16, data.target[order]
    cut = 3 * len(labels) // 4
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def initial(seed=0, inputs=64, hidden=HIDDEN, classes=10):
    """Draw parameters: weights scaled by the number of inputs of their layer, biases zero."""
    rng = np.random.default_rng(seed)
    W1 = rng.normal(size=inputs * hidden) / np.sqrt(inputs)
    W2 = rng.normal(size=hidden * classes) / np.sqrt(hidden)
    return np.concatenate([W1, np.zeros(hidden), W2, np.zeros(classes)])


# ---- The demonstration ----


def seconds(works, repeat):
    """Return the median time of each call; they are called in turn, so that a busy machine slows all of them."""
    times = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def written(duration):
    """Write a time in a unit that suits it."""
    if duration < 1:
        return f"{1000 * duration:.1f} ms"
    return f"{duration:.1f} s" if duration < 100 else f"{duration:.0f} s"


def compare(cost, w):
    """Count and time the gradient of a cost in both modes; return the table and the two times."""
    plan = wg.plan(cost)(w)
    n = w.size
    rng = np.random.default_rng(0)
    units = iter(np.eye(n)[rng.choice(n, SAMPLE, replace=False)])
    per_pass = seconds(
        {"forward": lambda: wg.jvp(cost, (w,), (next(units),)), "reverse": lambda: wg.grad(cost)(w)}, SAMPLE
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("passes", "multiplications", "additions", "one pass", "all passes"):
        table.add_column(name, justify="right", no_wrap=True)
    whole = {}
    for order, duration in per_pass.items():
        counted = plan[order]
        whole[order] = total = counted.passes * duration
        counts = counted.passes, counted.multiplications, counted.additions
        row = [f"{count:,}" for count in counts] + [written(duration), written(total)]
        table.add_row(order, *row, style="green" if order == plan.chosen else "")
    return table, whole


def train(images, labels, w, steps=STEPS, rate=0.01):
    """Minimize the cost by Adam, each gradient by one reverse pass; return the parameters."""
    value_and_gradient = wg.value_and_grad(cross_entropy)
    mean, square = np.zeros_like(w), np.zeros_like(w)
    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.completed}/{task.total}  {task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=steps)
        for step in range(1, steps + 1):
            cost, gradient = value_and_gradient(w, images, labels)
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            w = w - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            progress.update(task, advance=1, description=f"cost {cost:.4f}")
            if not console.is_terminal and step % 50 == 0:
                console.print(f"step {step:3}  cost {cost:.4f}")
    return w


def title(text):
    console.print(f"\n[bold blue]{text}[/]\n[blue]{'-' * len(text)}[/]\n")


def show(value):
    """Print one of wengert's objects: in color in a terminal, as plain text elsewhere."""
    console.print(value if console.is_terminal and hasattr(value, "__rich__") else str(value), markup=False)


def main():
    title("1. The reference example")
    x = np.array([0.5, 2.0, 3.0])
    console.print("def f(x):\n    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])\n", markup=False)
    show(wg.explain(f)(x))
    console.print()
    show(wg.plan(f)(x))

    title("2. The same on real data")
    images, labels, test_images, test_labels = digits()
    w = initial()
    console.print(
        "A network of two layers on scikit-learn's digits: real images of 8 x 8 pixels,\n"
        f"{len(labels):,} to train on and {len(test_labels)} to test on. "
        f"Its cost is one number (m = 1), its parameters are n = {w.size:,}.\n"
    )

    def cost(w):
        return cross_entropy(w, images, labels)

    table, whole = compare(cost, w)
    console.print(table)
    console.print(
        f"\nThe counts are exact. The times of one pass are medians of {SAMPLE} (wg.jvp, wg.grad), tracing included.\n"
        f"Forward's {w.size:,} passes were not all run: their time is that of one, times {w.size:,}.\n",
        style="dim",
    )
    show(wg.check_derivatives(cost)(w).raise_if_wrong())

    title("3. Training by reverse accumulation")
    start = time.perf_counter()
    w = train(images, labels, w)
    took = time.perf_counter() - start
    right = np.mean(np.argmax(scores(w, test_images), axis=1) == test_labels)
    console.print(
        f"{STEPS} steps in {took:.1f} s; {right:.1%} of the {len(test_labels)} test images are read correctly.\n"
    )
    ratio = whole["forward"] / whole["reverse"]
    console.print(
        f"With n = {w.size:,} and m = 1, a gradient takes {w.size:,} iterations in forward accumulation mode and\n"
        f"one in reverse: {written(whole['forward'])} against {written(whole['reverse'])}, {ratio:,.0f} times as long. "
        "That is why backpropagation is for the win.\n",
        style="bold green",
    )

    title("4. Where neither order wins: most entries are zero")
    x = np.cos(np.arange(100_000.0))
    plan = wg.plan(residual)(x)
    J = wg.jacobian(residual, sparse=True)
    J(x)
    took = seconds({"again": lambda: J(x)}, 5)["again"]
    console.print("The residual of a chain: each result depends on three neighbors among 100,000 variables.\n")
    show(plan)
    console.print(f"\n{plan.chosen}, {plan[plan.chosen].passes} passes: {written(took)}.", style="bold green")


if __name__ == "__main__":
    main()
