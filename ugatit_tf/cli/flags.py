"""Command-line flags: absl's, with booleans that mean what they say, and a help that a newcomer can read."""

import sys
import textwrap

from absl import flags

_TRUTHS = ("true", "false", "t", "f", "1", "0", "yes", "no", "y", "n")


class UsageError(ValueError):
    """The command line asks for something that does not exist or does not go together."""


class Command:
    """The flags of one command.

    Args:
        name: as typed after `ugatit`.
        summary: what the command does, for the help.
        words: whether it takes words that belong to no flag, such as files; they may stand before and after flags.
    """

    def __init__(self, name, summary, words=False):
        self.name = name
        self.summary = summary
        self.words = words
        self.values = flags.FlagValues()
        self.values.set_gnu_getopt(True)
        self._groups = {}
        self._group = ""

    def group(self, title):
        """The flags defined from here on stand under this title in the help."""
        self._group = title

    def string(self, name, default, text):
        flags.DEFINE_string(name, default, text, flag_values=self.values)
        self._add(name)

    def integer(self, name, default, text):
        flags.DEFINE_integer(name, default, text, flag_values=self.values)
        self._add(name)

    def float(self, name, default, text):
        flags.DEFINE_float(name, default, text, flag_values=self.values)
        self._add(name)

    def boolean(self, name, default, text):
        flags.DEFINE_boolean(name, default, text, flag_values=self.values)
        self._add(name)

    def choice(self, name, default, choices, text):
        flags.DEFINE_enum(name, default, list(choices), text, flag_values=self.values)
        self._add(name)

    def _add(self, name):
        self._groups.setdefault(self._group, []).append(name)

    def parse(self, arguments):
        """Read the words after the command.

        Returns:
            The flags' values by name, and the other words as a list under "words" where the command takes them; or None
            when only the help was asked for (and has been printed).

        Raises:
            UsageError: an unknown flag, a value that does not fit, a stray word.
        """
        if any(word in ("--help", "-h", "-help", "--helpfull") for word in arguments):
            print(self.help())
            return None
        try:
            stray = self.values([self.name, *self._join_booleans(arguments)])[1:]
        except flags.Error as error:
            raise UsageError(f"{error} See --help.") from error
        if stray and not self.words:
            raise UsageError(
                f"Not understood: {' '.join(stray)}. Values belong behind a flag: --name value. See --help."
            )
        values = self.values.flag_values_dict()
        return values | {"words": stray} if self.words else values

    def given(self, name):
        """Whether a flag stood on the command line."""
        return self.values[name].present > 0

    def _join_booleans(self, arguments):
        """`--light False` as `--light=False`: absl alone would read it as `--light` and a stray word."""
        joined = []
        for word in arguments:
            flag = joined[-1].lstrip("-") if joined else ""
            waiting = joined and joined[-1].startswith("-") and flag in self.values
            if waiting and self.values[flag].boolean and word.lower() in _TRUTHS:
                truth = word.lower() in ("true", "t", "1", "yes", "y")
                joined[-1] = f"--{flag}={truth}"
            else:
                joined.append(word)
        return joined

    def help(self):
        """The help text: every flag with its default, by group."""
        lines = [self.summary.strip()]
        for title, names in self._groups.items():
            lines += ["", f"{title}:"]
            for name in names:
                flag = self.values[name]
                value = "" if flag.boolean else " " + ("|".join(getattr(flag.parser, "enum_values", ())) or "VALUE")
                default = "" if flag.default is None else f" (default: {flag.default})"
                lines.append(f"  --{name}{value}")
                text = flag.help.partition(">: ")[2] if flag.help.startswith("<") else flag.help  # absl lists choices
                lines += textwrap.wrap(text + default, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
        return "\n".join(lines)


def fail(message):
    """Print an error the way every command does, and give the exit code."""
    print(f"ugatit: {message}", file=sys.stderr)
    return 1
