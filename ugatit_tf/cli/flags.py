"""Command-line flags: absl's, with booleans that mean what they say, and a help that a newcomer can read."""

import difflib
import os
import sys
import textwrap

from absl import flags

_TRUTHS = ("true", "false", "t", "f", "1", "0", "yes", "no", "y", "n")
_ABSL = ("flagfile", "undefok")  # what it reads beside a command's own flags
# What other programs' flags, the official codes' among them, are called here, where a command has that.
_OTHER_NAMES = {
    "batch": ("batch_size",),
    "crop_size": ("img_size",),
    "dataroot": ("data_dir",),
    "image_size": ("img_size", "size"),
    "img_size": ("size",),
    "learning_rate": ("lr",),
    "load_size": ("img_size",),
    "name": ("run_dir",),
    "out": ("out_dir", "result_dir"),
    "out_dir": ("out",),
    "output": ("out", "out_dir", "result_dir"),
    "run": ("run_dir",),
    "run_dir": ("checkpoint",),
    "size": ("img_size",),
    "steps": ("iteration",),
    "workers": ("strategy",),
}
_NOT_NEEDED = {
    "device": "TensorFlow takes the GPU that it finds; for the CPU set CUDA_VISIBLE_DEVICES=-1. Leave it out.",
    "benchmark_flag": "it tunes cuDNN for PyTorch; TensorFlow tunes by itself. Leave it out.",
}
_NOT_NEEDED |= dict.fromkeys(("gpu", "gpus", "gpu_id", "gpu_ids", "cuda", "cpu"), _NOT_NEEDED["device"])
_NOT_NEEDED |= dict.fromkeys(("amp", "fp16", "bf16", "mixed_precision"), "use --precision bfloat16 (ugatit train).")


class UsageError(ValueError):
    """The command line asks for something that does not exist or does not go together."""


class Command:
    """The flags of one command.

    Args:
        name: as typed after `ugatit`.
        summary: what the command does, for the help.
        words: whether it takes words that belong to no flag, which are paths and may stand before and after flags; or a
            function of the flags' values that tells.
    """

    def __init__(self, name, summary, words=False):
        self.name = name
        self.summary = summary
        self.words = words
        self.values = flags.FlagValues()
        self.values.set_gnu_getopt(True)
        self._groups = {}
        self._group = ""
        self._paths = {}
        self._synonyms = {}

    def group(self, title):
        """The flags defined from here on stand under this title in the help."""
        self._group = title

    def string(self, name, default, text):
        flags.DEFINE_string(name, default, text, flag_values=self.values)
        self._add(name)

    def path(self, name, default, text, also=(), separator=None):
        """A flag with a path, in which `~` is the home folder.

        Args:
            also: other names, which mean the same and do not stand in the help.
            separator: of several paths, where the flag takes them.
        """
        self.string(name, default, text)
        self._paths[name] = separator
        self._synonyms |= dict.fromkeys(also, name)

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
        arguments = self._join_booleans(self._known(arguments))
        try:
            stray = self.values([self.name, *arguments])[1:]
        except flags.Error as error:
            raise UsageError(f"{error} {self._see_help}") from error
        values = self.values.flag_values_dict()
        takes_words = self.words(values) if callable(self.words) else self.words
        if stray and not takes_words:
            raise UsageError(
                f"Not understood: {' '.join(stray)}. Values belong behind a flag: --name value. {self._see_help}"
            )
        for name, separator in self._paths.items():
            if values[name]:
                parts = values[name].split(separator) if separator else [values[name]]
                values[name] = (separator or "").join(expand(part, f"--{name}") for part in parts)
        return values | {"words": [expand(word) for word in stray]} if takes_words else values

    def given(self, name):
        """Whether a flag stood on the command line."""
        return self.values[name].present > 0

    @property
    def _see_help(self):
        return f"See ugatit {self.name} --help."

    def _known(self, arguments):
        """The arguments with each flag under its own name.

        Raises:
            UsageError: some are unknown; names all of them, and what may have been meant.
        """
        known, unknown, rest = [], {}, iter(arguments)
        for word in rest:
            name, equals, value = word.lstrip("-").partition("=")
            if word == "--":
                known += [word, *rest]
            elif not word.startswith("-") or not name:
                known.append(word)
            elif name in self._synonyms or name in self.values or name in _ABSL:
                name = self._synonyms.get(name, name)
                known.append(f"--{name}{equals}{value}")
                if not equals and not (name in self.values and self.values[name].boolean):
                    known += [value for value in [next(rest, None)] if value is not None]
            elif name.startswith("no") and name[2:] in self.values and self.values[name[2:]].boolean:
                known.append(word)
            else:
                unknown[name] = None
        if not unknown:
            return known
        lines = [f"--{name}: {self._advice(name)}" for name in unknown]
        if len(lines) == 1:
            raise UsageError(f"there is no flag {lines[0]} {self._see_help}")
        raise UsageError("there are no such flags:\n  " + "\n  ".join(lines) + f"\n{self._see_help}")

    def _advice(self, name):
        plain = name.replace("-", "_").lower()
        if plain in _NOT_NEEDED:
            return _NOT_NEEDED[plain]
        names = {**{other.lower(): other for other in self.values}, **self._synonyms}
        others = [other for other in _OTHER_NAMES.get(plain, ()) if other in self.values]
        meant = [names[plain]] if plain in names else others
        if not meant and self.words and plain in ("checkpoint", "model", "run", "run_dir"):
            return f"runs and checkpoints are words: ugatit {self.name} RUN."
        meant = meant or [names[other] for other in difflib.get_close_matches(plain, names, n=1)]
        return f"did you mean --{meant[0]}?" if meant else f"ugatit {self.name} has none of that or a similar name."

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


def expand(text, flag=None):
    """A path with the home folder in the place of a leading `~`: shells leave the one in `--flag=~/x` to the program.

    Args:
        text: as typed.
        flag: that it belongs to, for the error.

    Raises:
        UsageError: there is no such home folder, and a folder called `~` would be made or looked for.
    """
    path = os.path.expanduser(text)
    home, slash, _ = path.partition("/")
    if home.startswith("~") and (slash or home == "~") and not os.path.lexists(home):
        start = f"{flag} {path}" if flag else path
        raise UsageError(f"{start}: there is no home folder {home}. For a folder of that name in this one: ./{path}.")
    return path


def fail(message):
    """Print an error the way every command does, and give the exit code."""
    print(f"ugatit: {message}", file=sys.stderr)
    return 1
