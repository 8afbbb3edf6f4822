"""set_deterministic: the same bits from the same program, at the price of some speed."""

_deterministic = False


def set_deterministic(deterministic: bool = True) -> None:
    """Whether two runs of a program on the same GPU give identical results, bit by bit.

    Sums whose order may differ from run to run are those of rows that embedding layers and
    scatter_add add to a table, with atomic additions. When this is on, the rows are sorted
    first, and added in their order. Everything else has a fixed order anyway, and so have
    all operations on the CPU. Random numbers are the same if fix_random_seed was called.
    It holds for the process, and not for wrapped models of other frameworks, which have
    switches of their own.
    """
    global _deterministic
    _deterministic = bool(deterministic)


def is_deterministic() -> bool:
    """What set_deterministic has set."""
    return _deterministic
