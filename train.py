"""`python train.py ...` is `ugatit train ...`."""

import sys

from ugatit_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
