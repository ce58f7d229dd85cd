"""`python -m ugatit_tf ...` is `ugatit ...`."""

import sys

from ugatit_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
