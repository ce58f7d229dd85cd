"""Which operations of a generator int8 may have: quality, time and partitions for several choices.

    python benchmarks/int8_operations.py runs/demo dataset/demo

Prints a Markdown table. Ranges are measured on trainA, quality on testA, against the float32 Keras generator.
"""

import argparse
import pathlib
import tempfile

import numpy as np

from ugatit_tf import UGATIT
from ugatit_tf.data import images, pipeline
from ugatit_tf.export import tflite, verify

CHOICES = {
    "convolutions": ("CONV_2D",),
    "convolutions and dense layers": ("CONV_2D", "FULLY_CONNECTED"),
    "convolutions and sums": ("CONV_2D", "ADD"),
    "convolutions, sums and products": ("CONV_2D", "ADD", "SUB", "MUL"),
    "everything": ("*",),
}


def load(folder, count, size):
    """The first images of a folder, uint8 [N, size, size, 3]."""
    paths = images.find_images(folder)[:count]
    return np.stack([np.rint(pipeline.resize(images.decode(path), size)).astype(np.uint8) for path in paths])


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's folder, or a checkpoint")
    parser.add_argument("dataset", help="folder with trainA and testA")
    options = parser.parse_args()
    model = UGATIT.load(options.run)
    size = model.config.img_size
    ranges, tests = (load(pathlib.Path(options.dataset) / name, 50, size) for name in ("trainA", "testA"))
    description = {"label": "measurement", "licence": "", "version": ""}
    plain = tflite.convert(model.gen_a2b, "float32", (size, size), description)
    proofs, faults = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, operations in CHOICES.items():
            path = pathlib.Path(folder) / name
            try:
                path.write_bytes(tflite.quantize(plain, ranges, operations))
                proofs.append(verify.measure_tflite(path, "static_int8", model.gen_a2b, tests))
            except (RuntimeError, ValueError) as error:  # of the quantiser or of LiteRT
                faults.append(f"{name}: {str(error).splitlines()[0]}")
    print(verify.table(proofs), *faults, sep="\n")


if __name__ == "__main__":
    main()
