"""SciPy: the primitives, and the functions that are written in terms of them.

- `special`: the functions of ``scipy.special``; `parameters`: their derivatives that need quadrature.
- `distributions`: the densities and distribution functions of ``scipy.stats``.
- `linalg`: ``scipy.linalg``.
- `fft`: ``scipy.fft``, cosines and sines included.
- `interpolate`: splines and grids; `ndimage`: filters of images, and images resampled.
- `distance`: metrics; `transform`: rotations.
- `signal`: convolutions and filters of ``scipy.signal``; `sparse`: products of sparse matrices.
"""

from wengert.primitives.scipy import (
    distance,
    distributions,
    fft,
    interpolate,
    linalg,
    ndimage,
    signal,
    sparse,
    special,
    transform,
)

__all__ = [
    "distance",
    "distributions",
    "fft",
    "interpolate",
    "linalg",
    "ndimage",
    "signal",
    "sparse",
    "special",
    "transform",
]
