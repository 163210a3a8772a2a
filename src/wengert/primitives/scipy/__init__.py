"""SciPy: the primitives, and the functions that are written in terms of them.

- `special`: the functions of ``scipy.special``; `parameters`: their derivatives that need quadrature.
- `distributions`: the densities and distribution functions of ``scipy.stats``; `statistics`: what else is there.
- `linalg`: ``scipy.linalg``; `decompositions`: relatives of its factorizations.
- `banded`: banded and Toeplitz systems, eigenvalues of banded matrices.
- `fft`: ``scipy.fft``, cosines and sines included.
- `interpolate`: splines and grids; `ndimage`: filters of images, and images resampled.
- `distance`: metrics; `transform`: rotations.
- `signal`: convolutions, filters and spectra; `integrate`: Simpson's rule.
- `sparse`: matrices of traced entries, and the systems that they make.
"""

from wengert.primitives.scipy import (
    banded,
    decompositions,
    distance,
    distributions,
    fft,
    integrate,
    interpolate,
    linalg,
    ndimage,
    signal,
    sparse,
    special,
    statistics,
    transform,
)

__all__ = [
    "banded",
    "decompositions",
    "distance",
    "distributions",
    "fft",
    "integrate",
    "interpolate",
    "linalg",
    "ndimage",
    "signal",
    "sparse",
    "special",
    "statistics",
    "transform",
]
