"""Small loops over C arrays, for other Cython modules: see linalg.pxd.

The functions are inline there, so a client compiles its own copies; this module
holds the types themselves and their tables of methods.
"""


cdef class Matrix:
    """A block of floats with its shape, for C clients that pass one around."""


cdef class Vec:
    """Functions of one C array of floats."""


cdef class VecVec:
    """Functions of two C arrays."""


cdef class Mat:
    """Functions of a row-major C matrix of floats."""
