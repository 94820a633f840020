"""Makes the MAT-files that tests read: pip install scipy numpy.

packed.mat and plain.mat hold two small arrays; svhn.mat has the form of SVHN's `test_32x32.mat`, three images of each
digit, every pixel of which is 20 times the digit.
"""

from pathlib import Path

import numpy
from scipy.io import savemat

HERE = Path(__file__).parent
ARRAYS = {
    "X": numpy.arange(24, dtype=numpy.uint8).reshape((2, 2, 3, 2), order="F"),
    "y": numpy.array([[10.0], [7.0]]),
}
for name, packed in [("packed.mat", True), ("plain.mat", False)]:
    savemat(HERE / name, ARRAYS, format="5", do_compression=packed)

LABELS = numpy.array([[1 + number % 10] for number in range(30)], dtype=numpy.uint8)
IMAGES = numpy.zeros((32, 32, 3, len(LABELS)), dtype=numpy.uint8)
IMAGES[...] = 20 * (LABELS[:, 0] % 10)
savemat(HERE / "svhn.mat", {"X": IMAGES, "y": LABELS}, format="5", do_compression=True)
