"""Tell crosses from circles: a small convolutional network, the convolution written with slices.

Each tap of a kernel is one shifted slice of the images times one matrix of weights; the maximum over windows of two by
two is a reshape.  Images are drawn at random places with noise.
"""

import numpy as np

import wengert as wg


def convolve(images, kernels):
    """Correlate images (n, rows, columns, channels) with kernels (height, width, channels, filters)."""
    height, width = kernels.shape[:2]
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    total = 0.0
    for i in range(height):
        for j in range(width):
            total = total + images[:, i : i + rows, j : j + columns, :] @ kernels[i, j]
    return total


def max_pool(images):
    """Take the maximum of windows of two by two."""
    n, rows, columns, channels = images.shape
    windows = images.reshape(n, rows // 2, 2, columns // 2, 2, channels)
    return np.max(windows, axis=(2, 4))


def scores(params, images):
    """Return a score for each image: positive for a circle."""
    for kernels, bias in params["convolutions"]:
        images = max_pool(np.maximum(convolve(images, kernels) + bias, 0.0))
    weights, bias = params["dense"]
    return images.reshape(len(images), -1) @ weights + bias


def loss(params, images, labels):
    """Logistic loss; labels are +1 for circles and -1 for crosses."""
    return np.mean(np.logaddexp(0.0, -labels * scores(params, images)))


def initial(size, filters, rng):
    """Draw the parameters of two convolutions of three by three and a dense layer."""
    convolutions, channels = [], 1
    for _ in range(2):
        kernels = rng.normal(size=(3, 3, channels, filters)) / np.sqrt(9 * channels)
        convolutions.append((kernels, np.zeros(filters)))
        size, channels = (size - 2) // 2, filters
    return {"convolutions": convolutions, "dense": (rng.normal(size=size * size * filters) / size, 0.0)}


def drawings(count, size, rng):
    """Draw circles and crosses of random place and size, with noise."""
    x, y = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    labels = np.where(rng.uniform(size=count) < 0.5, 1.0, -1.0)
    images = 0.3 * rng.normal(size=(count, size, size, 1))
    for image, label in zip(images, labels, strict=True):
        u, v = x - rng.uniform(0.35, 0.65) * size, y - rng.uniform(0.35, 0.65) * size
        radius = rng.uniform(0.2, 0.35) * size
        far = np.maximum(np.abs(u), np.abs(v)) > radius
        circle, cross = np.abs(np.hypot(u, v) - radius), np.minimum(np.abs(u - v), np.abs(u + v)) + 9.0 * far
        image[:, :, 0] += np.exp(-((circle if label > 0 else cross) ** 2))
    return images, labels


def problem(count=3, size=14, filters=2):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    rng = np.random.default_rng(0)
    return loss, (initial(size, filters, rng), *drawings(count, size, rng)), (0,)


def main(iterations=80, size=18, filters=6):
    rng = np.random.default_rng(0)
    params = initial(size, filters, rng)
    test_images, test_labels = drawings(500, size, rng)
    for image, label in zip(test_images[:2], test_labels, strict=False):
        print("circle" if label > 0 else "cross")
        print("\n".join("".join(" .:o@"[int(np.clip(4 * v, 0, 4))] * 2 for v in row) for row in image[:, :, 0]))
    gradient = wg.value_and_grad(loss)
    for k in range(iterations + 1):
        value, slope = gradient(params, *drawings(32, size, rng))
        params = {
            "convolutions": [
                (w - 0.3 * dw, b - 0.3 * db)
                for (w, b), (dw, db) in zip(params["convolutions"], slope["convolutions"], strict=True)
            ],
            "dense": tuple(p - 0.3 * dp for p, dp in zip(params["dense"], slope["dense"], strict=True)),
        }
        if k % 20 == 0 or k == iterations:
            right = np.mean(np.sign(scores(params, test_images)) == test_labels)
            print(f"step {k:3}: loss {value:.3f}, {right:.1%} of 500 new drawings named rightly")


if __name__ == "__main__":
    main()
