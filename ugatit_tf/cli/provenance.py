"""What every JSON file of results says first: by which version and command, and when."""

import datetime
import shlex

from ugatit_tf import __version__


def provenance(command, arguments):
    """The head of a file.

    Args:
        command: name of the command.
        arguments: the words behind it.
    """
    return {
        "program": f"ugatit-tf {__version__}",
        "command": shlex.join(["ugatit", command, *map(str, arguments)]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
