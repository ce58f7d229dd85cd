"""Images per second of the input pipeline alone: read, decoded, enlarged, cropped, batched, on all cores.

    python benchmarks/pictures.py /tmp/photos --side 1024
    python benchmarks/input_pipeline.py /tmp/photos --img_size 256

Prints one line of JSON. In a training the step has the same cores: `cpu_seconds_per_pair`, of one image of each
domain, is to be compared with the step's CPU seconds (`cpu_median` of train_step.py).
"""

import argparse
import time

import measure


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder with trainA and trainB, or of records")
    parser.add_argument("--img_size", type=int, default=256, help="side of the results (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=1, help="images of each domain (default: %(default)s)")
    parser.add_argument("--flavor", default="pytorch", help="whose augmentation (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long, after a fifth of it to warm up")
    measure.add_threads_flag(parser)
    options = parser.parse_args()
    measure.prepare(options.threads)

    import ugatit_tf
    from ugatit_tf.data import images, pipeline

    model = ugatit_tf.ModelConfig(flavor=options.flavor, light=True, img_size=options.img_size, n_dis=4)
    train = ugatit_tf.TrainConfig(batch_size=options.batch_size)
    batches = iter(pipeline.reading(pipeline.train_batches(images.load_dataset(options.dataset), model, train)))
    _run(batches, options.seconds / 5)
    cpu_start = time.process_time()
    count, seconds = _run(batches, options.seconds)
    pairs = count * options.batch_size
    record = {**vars(options), "images_per_second": 2 * pairs / seconds}
    measure.finish(record | {"cpu_seconds_per_pair": (time.process_time() - cpu_start) / pairs})


def _run(batches, seconds):
    """Take batches for some seconds, and at least one; returns how many, and in which time."""
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < seconds:
        real_a, _ = next(batches)
        real_a.numpy()
        count += 1
    return count, time.perf_counter() - start


if __name__ == "__main__":
    main()
