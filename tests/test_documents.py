"""README and docs: one spelling for commands and extras, and links that lead somewhere."""

import pathlib
import re

import pytest

from ugatit_tf.cli.main import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])


def places(pattern, files):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_commands_are_spelt_as_installed():
    assert len(places(r"python (train|export)\.py", [ROOT / "README.md"])) == 1  # which says that it is the same
    others = [path for path in DOCUMENTS if path.name not in ("README.md", "CHANGELOG.md")]
    assert places(r"python (train|export)\.py", others) == []


def test_extras_are_installed_from_the_source_with_double_quotes():
    # Single quotes are letters to cmd, and without quotes zsh takes the brackets for a pattern.
    assert places(r"pip install.*['\w]ugatit-tf\[|pip install '|pip install \.\[", DOCUMENTS) == []


def test_commands_exist():
    lines = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    used = set(re.findall(r"^ {4}ugatit (\w+)", lines, re.MULTILINE))
    assert used <= set(COMMANDS)
    assert len(used) >= 6


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


def test_tables_of_results_fit_a_terminal_and_mark_the_best():
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 12
    for table in tables:
        head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        assert max(map(len, table.splitlines())) <= 80
        for title, *cells in list(zip(head, *rows, strict=True))[1:]:
            values = [float(cell.strip("*").split()[0]) for cell in cells]
            best = max(values) if title in ("PSNR, dB", "SSIM") else min(values)
            assert [cell.startswith("**") for cell in cells] == [value == best for value in values]


def test_the_citation_names_this_version():
    version = re.search(r'"(.+)"', (ROOT / "ugatit_tf/__init__.py").read_text().split("__version__")[1]).group(1)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
