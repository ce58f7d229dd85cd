"""Time of one translation by Keras, a SavedModel, a TFLite file, or the official PyTorch code, in its own process.

    python benchmarks/inference.py export/ugatit_a2b_dynamic_range.tflite
    python benchmarks/inference.py export/ugatit_a2b/1
    python benchmarks/inference.py keras --light --ch 64 --img_size 256
    python benchmarks/inference.py PATH/TO/UGATIT-pytorch --light                 # needs torch, and that checkout

Run them in turn on an otherwise idle machine and compare the printed lines: JSON with the median milliseconds. Files
have the size and width that they were exported with; all get one float image.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import numpy as np


def runner(options):
    """A function that translates one image."""
    what = pathlib.Path(options.what)
    shape = (1, options.img_size, options.img_size, 3)
    if options.what == "keras":
        import tensorflow as tf

        from ugatit_tf.models import Generator

        generator = tf.function(Generator(options.flavor, options.light, options.ch, img_size=options.img_size))
        image = tf.constant(picture(shape))
        return lambda: generator(image, training=False)[0].numpy()
    if what.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        signature = Interpreter(str(what), num_threads=options.threads).get_signature_runner("float")
        image = picture(signature.get_input_details()["image"]["shape"])
        return lambda: signature(image=image)
    if (what / "saved_model.pb").exists():
        import tensorflow as tf

        signature = tf.saved_model.load(str(what)).signatures["float"]
        image = tf.constant(picture(shape))
        return lambda: signature(image=image)["image"].numpy()

    sys.path.insert(0, str(what))
    import networks
    import torch

    torch.set_num_threads(options.threads)
    generator = networks.ResnetGenerator(3, 3, options.ch, 4, options.img_size, options.light).eval()
    image = torch.from_numpy(picture((1, 3, *shape[1:3])))

    def run():
        with torch.no_grad():
            generator(image)

    return run


def picture(shape):
    """A random image, float32 in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="keras, a .tflite, the folder of a SavedModel, or a checkout of the official code")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--flavor", default="pytorch")
    parser.add_argument("--img_size", type=int, default=256)
    parser.add_argument("--ch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(options.threads)
    run = runner(options)
    run()
    seconds = []
    for _ in range(options.runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({**vars(options), "milliseconds": round(1000 * statistics.median(seconds), 1)}))


if __name__ == "__main__":
    main()
