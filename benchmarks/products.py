"""What bounds a training step: each of its convolutions and matrix products alone, at its own speed.

    python benchmarks/products.py --light
    python benchmarks/products.py --light --precision bfloat16

Takes them from the step that was traced, runs each of another kind or shape by itself, again and again, and adds up
their medians: a step of these alone, with nothing between them. Prints a Markdown table: the costliest, and their sum,
beside the step's median and the rate of the best large square product (matmul.py).
"""

import argparse
import collections

import flops
import measure
import train_step


def signatures(graph):
    """The convolutions and matrix products of a function: Counter of (kind, shapes, data type, attributes).

    Args:
        graph: of a concrete function without branches that multiply.
    """
    found = collections.Counter()
    for op in flops.needed(graph):
        if op.type in flops.FORMULAS:
            names = [attribute.name for attribute in op.op_def.attr if attribute.type != "type"]
            values = [tuple(value) if isinstance(value, list) else value for value in map(op.get_attr, names)]
            shapes = tuple(tuple(tensor.shape.as_list()) for tensor in (*op.inputs, *op.outputs))
            found[op.type, shapes, op.outputs[0].dtype.name, tuple(zip(names, values, strict=True))] += 1
        elif op.type in flops.CALLS:
            found += signatures(flops.function(graph, op.get_attr("f")))
    return found


def operation(signature):
    """A function that runs the operation of a signature on random numbers, and its floating-point operations."""
    import tensorflow as tf

    kind, (*inputs, output), dtype, attributes = signature
    raw = getattr(tf.raw_ops, kind)
    names = {"Conv2D": ("input", "filter"), "MatMul": ("a", "b")}.get(kind, ("x", "y"))
    if kind == "Conv2DBackpropInput":
        names = ("input_sizes", "filter", "out_backprop")
    elif kind == "Conv2DBackpropFilter":
        names = ("input", "filter_sizes", "out_backprop")
    values, sizes = {}, {}
    for name, shape in zip(names, inputs, strict=True):
        if name.endswith("_sizes"):
            sizes[name] = output
        else:
            values[name] = tf.cast(measure.picture(shape), dtype)
    options = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes}
    function = tf.function(lambda **tensors: raw(**tensors, **sizes, **options), autograph=False)
    traced = function.get_concrete_function(**values)
    return (lambda: function(**values)), flops.count(traced.graph).total()


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_model_flags(parser)
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or float16 (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of each operation, after one (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=20, help="the costliest, that are shown (default: %(default)s)")
    options = parser.parse_args()
    measure.prepare(options.threads)
    words = ["--img_size", options.img_size, "--ch", options.ch, "--flavor", options.flavor]
    words += ["--precision", options.precision, *(["--light"] * options.light)]
    step = train_step.Ours(train_step.make_parser().parse_args([str(word) for word in words]))
    steps, _ = measure.time_calls(step, 4)
    rows = []
    for signature, times in signatures(step.graph()).items():
        run, count = operation(signature)
        seconds, _ = measure.time_calls(run, options.repeats + 1)
        rows.append((times * measure.median_after_first(seconds), times, count, signature))
    print(table(sorted(rows, key=lambda row: -row[0]), measure.median_after_first(steps), options.rows))


def table(rows, step, shown):
    """Markdown.

    Args:
        rows: list of (seconds in all, number, floating-point operations of one, signature), the costliest first.
        step: seconds of a step.
        shown: number of rows to show.
    """
    total, work = sum(row[0] for row in rows), sum(row[1] * row[2] for row in rows)
    lines = ["| operation | inputs, result | number | GFLOP/s | of the step's time |", "|---|---|---|---|---|"]
    for seconds, number, count, (kind, shapes, _, _) in rows[:shown]:
        *inputs, result = (" x ".join(map(str, shape)) for shape in shapes if len(shape) > 1)
        rate = number * count / seconds / 1e9
        lines.append(f"| {kind} | {', '.join(inputs)}: {result} | {number} | {rate:.0f} | {seconds / step:.1%} |")
    number = sum(row[1] for row in rows)
    lines.append(f"| all {len(rows)} kinds | | {number} | {work / total / 1e9:.0f} | {total / step:.1%} |")
    lines.append(f"| the step | | | {work / step / 1e9:.0f} | 100% |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
