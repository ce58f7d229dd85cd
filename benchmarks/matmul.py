"""The machine's matrix-multiply peak: the best rate of a large square product, in TensorFlow or PyTorch.

    python benchmarks/matmul.py --precision bfloat16
    python benchmarks/matmul.py --framework pytorch

Prints one line of JSON; `flops_per_second` is that of the best size, by the median of its repeats.
"""

import argparse
import sys

import measure


def multiplier(options, size):
    """A function that multiplies two square matrices."""
    shape = (size, size)
    a, b = measure.picture(shape), measure.picture(shape)
    if options.framework == "pytorch":
        try:
            import torch
        except ModuleNotFoundError as error:
            raise SystemExit(measure.torch_fault(sys.executable)) from error
        torch.set_num_threads(options.threads)
        a, b = (torch.from_numpy(x).to(getattr(torch, options.precision)) for x in (a, b))
        return lambda: torch.mm(a, b)
    import tensorflow as tf

    a, b = (tf.cast(x, options.precision) for x in (a, b))
    return lambda: tf.matmul(a, b)


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("tensorflow", "pytorch"), default="tensorflow")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--sizes", default="2048,3072,4096", help="sides of the matrices (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="products of each size, after one (default: 5)")
    measure.add_threads_flag(parser)
    options = parser.parse_args()
    measure.prepare(options.threads)
    rates = {}
    for size in map(int, options.sizes.split(",")):
        seconds, _ = measure.time_calls(multiplier(options, size), options.repeats + 1)
        rates[size] = 2 * size**3 / measure.median_after_first(seconds)
    measure.finish({**vars(options), "rates": rates, "flops_per_second": max(rates.values())})


if __name__ == "__main__":
    main()
