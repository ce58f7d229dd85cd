"""Words for people: what messages of all parts have in common."""


def count(number, singular, plural=None):
    """A number with its noun: `"1 step"`, `"1,000 steps"`.

    Args:
        number: how many.
        singular: the noun of one.
        plural: of none or several, where it is not `singular` with an s.
    """
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
