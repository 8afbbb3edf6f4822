from typing import Any

class Matrix:
    mem: Any
    nr_row: int
    nr_col: int

class Vec: ...
class VecVec: ...
class Mat: ...
