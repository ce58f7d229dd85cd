"""Words for people: what messages of all parts have in common."""


def count(number, singular, plural=None):
    """A number with its noun: `"1 step"`, `"1,000 steps"`.

    Args:
        number: how many.
        singular: the noun of one.
        plural: of none or several, where it is not `singular` with an s.
    """
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def markdown_table(rows):
    """Rows of cells, the header first, as a Markdown table with aligned columns."""
    # Markdown has no table where the rule is empty under a column.
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
