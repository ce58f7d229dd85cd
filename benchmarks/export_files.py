"""The files of `ugatit export` for inference.py: an untrained generator as a SavedModel and in every TFLite format.

    python benchmarks/export_files.py FOLDER --light

Makes FOLDER/ugatit_a2b/1 and FOLDER/ugatit_a2b_FORMAT.tflite. The time of a translation does not depend on the weights.
Nothing is proven here, for bounds on the quality of an untrained generator say nothing.
"""

import argparse
import pathlib

import measure

NAME = "ugatit_a2b"


def write(folder, generator, portraits, kinds):
    """Write the files.

    Args:
        folder: to be made.
        generator: `ugatit_tf.models.Generator`.
        portraits: images whose ranges static_int8 measures, uint8 [N, H, W, 3].
        kinds: `saved_model`, and TFLite's formats.
    """
    from ugatit_tf.export import saved_model, tflite

    description = {"label": "untrained, for measurements", "licence": "", "version": ""}
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        if kind == "saved_model":
            saved_model.write(folder / NAME / "1", generator, NAME, description)
        else:
            size = (generator.img_size, generator.img_size)
            content = tflite.convert(generator, kind, size, description, portraits)
            (folder / f"{NAME}_{kind}.tflite").write_bytes(content)


def main():
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder to make")
    measure.add_model_flags(parser)
    parser.add_argument(
        "--formats", default="saved_model,float32,float16,dynamic_range,static_int8", help="default: %(default)s"
    )
    options = parser.parse_args()
    measure.prepare(options.threads)

    import numpy as np

    from ugatit_tf.data import demo
    from ugatit_tf.models import Generator

    people = [demo.Portrait.random(np.random.default_rng(seed)) for seed in range(4)]
    portraits = np.stack([np.asarray(demo.draw_photo(person, options.img_size).convert("RGB")) for person in people])
    generator = Generator(options.flavor, options.light, options.ch, img_size=options.img_size)
    write(options.folder, generator, portraits, options.formats.split(","))
    measure.finish({**vars(options), "folder": str(options.folder)})


if __name__ == "__main__":
    main()
