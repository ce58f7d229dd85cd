"""Time of one translation by Keras, a SavedModel, a TFLite file, or the official PyTorch code, in its own process.

    python benchmarks/inference.py export/ugatit_a2b_dynamic_range.tflite
    python benchmarks/inference.py export/ugatit_a2b/1
    python benchmarks/inference.py keras --light --ch 64 --img_size 256
    python benchmarks/inference.py --pytorch PATH/TO/UGATIT-pytorch --light       # needs torch, and that checkout

Run them in turn on an otherwise idle machine (`benchmarks/run.py inference` does that) and compare the printed lines:
JSON with the milliseconds, their median, and the peak resident memory (VmHWM) in MiB. Files have the size and width
that they were exported with; all get one float image.
"""

import argparse
import pathlib
import statistics

import measure


def keras(options):
    """A function that translates one image by a new generator."""
    import tensorflow as tf

    from ugatit_tf.models import Generator

    generator = tf.function(Generator(options.flavor, options.light, options.ch, img_size=options.img_size))
    image = tf.constant(measure.picture(_shape(options)))
    return lambda: generator(image, training=False)[0].numpy()


def tflite(options):
    """A function that translates one image by a TFLite file."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(options.what, num_threads=options.threads).get_signature_runner("float")
    image = measure.picture(signature.get_input_details()["image"]["shape"])
    return lambda: signature(image=image)


def saved_model(options):
    """A function that translates one image by a SavedModel."""
    import tensorflow as tf

    signature = tf.saved_model.load(options.what).signatures["float"]
    image = tf.constant(measure.picture(_shape(options)))
    return lambda: signature(image=image)["image"].numpy()


def official(options):
    """A function that translates one image by the official PyTorch code's generator."""
    torch, networks = measure.official(options.pytorch, options.threads)
    generator = networks.ResnetGenerator(3, 3, options.ch, 4, options.img_size, options.light).eval()
    image = torch.from_numpy(measure.picture((1, 3, options.img_size, options.img_size)))

    def run():
        with torch.no_grad():
            generator(image)

    return run


def _shape(options):
    return (1, options.img_size, options.img_size, 3)


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", help="keras, a .tflite file, or the folder of a SavedModel (NAME/1)")
    parser.add_argument("--pytorch", metavar="DIR", help="measure the official PyTorch code, of this checkout, instead")
    measure.add_model_flags(parser)
    parser.add_argument("--runs", type=int, default=7, help="translations, after a first one (default: %(default)s)")
    options = parser.parse_args()
    if bool(options.what) == bool(options.pytorch):
        parser.error("what is to be measured? Give keras, a .tflite file, a SavedModel's folder, or --pytorch DIR.")
    measure.prepare(options.threads)
    if options.pytorch:
        run = official(options)
    elif options.what == "keras":
        run = keras(options)
    elif options.what.endswith(".tflite"):
        run = tflite(options)
    elif (pathlib.Path(options.what) / "saved_model.pb").is_file():
        run = saved_model(options)
    else:
        parser.error(f"{options.what} is neither keras nor a .tflite file, and holds no saved_model.pb.")
    run()
    seconds, _ = measure.time_calls(run, options.runs)
    milliseconds = [round(1000 * value, 2) for value in seconds]
    record = {**vars(options), "milliseconds": milliseconds, "median": round(statistics.median(milliseconds), 2)}
    measure.finish(record | {"peak_mib": measure.peak_mib()})


if __name__ == "__main__":
    main()
