"""The command line: `ugatit COMMAND`, one module a command."""
