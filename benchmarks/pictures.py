"""Folders of pictures to measure with, drawn from a seed: colour gradients, patches and grain, of any size and format.

    python benchmarks/pictures.py FOLDER --side 1024 --suffix .jpg

Makes FOLDER/{trainA,trainB}. What matters is that they cost as much to decode as photographs do: about 0.3 (256 px) to
0.2 (1024 px) bytes a pixel as JPEG.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

FOLDERS = ("trainA", "trainB")


def draw(rng, side):
    """A picture, `PIL.Image`: patches of many sizes, each half as strong as the next larger, and grain."""
    pixels = rng.normal(0, 6, (side, side, 3))
    cells = 2
    while cells <= side // 2:
        patches = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pixels += (np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC), float) - 127.5) * (
            1.4 / cells**0.6
        )
        cells *= 2
    return Image.fromarray(np.clip(pixels + 127.5, 0, 255).astype(np.uint8))


def write(folder, side, suffix, count=32):
    """Draw `count` pictures into each of trainA and trainB."""
    rng = np.random.default_rng(0)
    for name in FOLDERS:
        (pathlib.Path(folder) / name).mkdir(parents=True)
        for index in range(count):
            draw(rng, side).save(pathlib.Path(folder) / name / f"{index:03d}{suffix}", quality=90)


def main():
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder to make")
    parser.add_argument("--side", type=int, default=256, help="width and height in pixels (default: %(default)s)")
    parser.add_argument("--suffix", default=".jpg", help=".jpg or .png (default: %(default)s)")
    parser.add_argument("--count", type=int, default=32, help="pictures in each folder (default: %(default)s)")
    options = parser.parse_args()
    write(options.folder, options.side, options.suffix, options.count)


if __name__ == "__main__":
    main()
