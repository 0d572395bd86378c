"""Data sets in the formats that they are published in, from files. Nothing is ever unpickled.

    read_mnist, read_idx             MNIST, Fashion-MNIST and their kin, also compressed by gzip
    read_cifar10, read_cifar100      their binary versions
    read_arrays                      NumPy's .npz and .npy
    read_wav                         recordings
    read_csv                         columns of numbers

A file that is missing, damaged or of another format is a `DataError`, which names it.
"""

from jconv.training.data.formats.arrays import read_arrays as read_arrays
from jconv.training.data.formats.cifar import (
    read_cifar10 as read_cifar10,
    read_cifar100 as read_cifar100,
)
from jconv.training.data.formats.files import DataError as DataError
from jconv.training.data.formats.idx import read_idx as read_idx, read_mnist as read_mnist
from jconv.training.data.formats.table import read_csv as read_csv
from jconv.training.data.formats.wav import Recording as Recording, read_wav as read_wav
