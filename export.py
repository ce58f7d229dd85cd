"""`python export.py ...` is `ugatit export ...`."""

import sys

from ugatit_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
