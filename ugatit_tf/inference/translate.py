"""The test phase: translate the test images of both domains, and make a page that shows the results."""

import hashlib
import html
import os
import pathlib
import shutil
import string
import urllib.parse

import numpy as np
from PIL import Image

from ugatit_tf.inference import sheets

NAME_BYTES = 255  # of a file's name, on nearly every file system
_FOLDERS = ("a2b", "b2a", "sheets", "inputs")
_MARK = '<meta name="generator" content="ugatit_tf">'

_PAGE = string.Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$mark
<title>$title</title>
<style>
:root { color-scheme: light dark; --back: #fafafa; --card: #fff; --text: #1b1b1f; --soft: #5f6068; --line: #dcdce2; }
@media (prefers-color-scheme: dark) {
  :root { --back: #131316; --card: #1d1d21; --text: #ececf0; --soft: #a0a1aa; --line: #34343b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 3rem) 3rem; max-width: 110rem;
  background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
p, nav, figcaption, small { color: var(--soft); }
p { margin: .25rem 0; }
nav a { margin-right: 1rem; }
a { color: inherit; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; overflow: hidden; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
figure a, .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
figure a:focus-visible { outline: 3px solid Highlight; outline-offset: -3px; }
figure:hover { border-color: var(--soft); }
img { display: block; width: 100%; height: auto; }
figcaption { padding: .4rem .7rem; font-size: .85rem; overflow-wrap: anywhere; }
dialog { width: min(96vw, 80rem); max-height: 96vh; padding: 0; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--back); color: var(--text); }
dialog::backdrop { background: #000b; }
#bar { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; padding: .6rem .8rem;
  background: var(--back); border-bottom: 1px solid var(--line); }
#bar p { flex: 1 1 10rem; margin: 0; overflow-wrap: anywhere; }
#bar button { min-height: 2.5rem; padding: .3rem .9rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); color: inherit; font: inherit; cursor: pointer; }
#bar button:hover { border-color: var(--soft); }
#shown { display: grid; gap: .8rem; padding: .8rem; }
.pair img { max-height: 70vh; object-fit: contain; }
@media (max-width: 40rem) {
  .pair { grid-template-columns: 1fr; }
  #bar p { flex-basis: 100%; }
}
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>$summary</p>
<nav><a href="#a2b">A to B</a><a href="#b2a">B to A</a></nav>
</header>
$sections
<dialog id="view" aria-labelledby="name">
<div id="bar">
<p id="name"></p>
<button type="button" id="previous">&lsaquo; Previous</button>
<button type="button" id="next">Next &rsaquo;</button>
<button type="button" id="close">Close</button>
</div>
<div id="shown"></div>
</dialog>
<script>
const find = (id) => document.getElementById(id);
const view = find("view"), links = [...document.querySelectorAll(".grid a")];
let at = 0;

function picture(source, words, caption) {
  const figure = document.createElement("figure"), image = document.createElement("img");
  image.src = source;
  image.alt = words;
  figure.append(image, Object.assign(document.createElement("figcaption"), { textContent: caption }));
  return figure;
}

function show(index) {
  at = (index + links.length) % links.length;
  const link = links[at], [input, output] = link.querySelectorAll("img");
  const name = link.parentNode.querySelector("figcaption").textContent;
  const direction = link.closest("section").querySelector("h2").firstChild.textContent.trim();
  find("name").textContent = direction + ": " + name + " (" + (at + 1) + " of " + links.length + ")";
  const pair = document.createElement("div");
  pair.className = "pair";
  pair.append(picture(input.src, input.alt, "Input"), picture(output.src, output.alt, "Translation"));
  find("shown").replaceChildren(pair, picture(link.href, "Sheet of " + name, "Heatmaps, identity and cycle"));
  view.scrollTop = 0;
}

links.forEach((link, index) => {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !view.showModal) return; // the sheet's own tab, as links do
    event.preventDefault();
    show(index);
    view.showModal();
  });
});
const keys = {
  ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1), Home: () => show(0), End: () => show(-1),
};
view.addEventListener("keydown", (event) => {
  if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});
view.addEventListener("click", (event) => event.target === view && view.close()); // beside the view
view.addEventListener("close", () => links[at].focus());
find("previous").onclick = keys.ArrowLeft;
find("next").onclick = keys.ArrowRight;
find("close").onclick = () => view.close();
</script>
</body>
</html>
"""
)

_CARD = string.Template(
    """<figure><a href="$sheet" title="Enlarge $name">
<img src="$input" alt="Input $name" width="$width" height="$height" loading="lazy">
<img src="$output" alt="Translation of $name" width="$width" height="$height" loading="lazy">
</a><figcaption>$name</figcaption></figure>"""
)


def _url(path):
    """A relative path as a URL. The file system's bytes are encoded, so that any name comes through."""
    return urllib.parse.quote(os.fsencode(pathlib.PurePath(path).as_posix()))


def _write_page(out_dir, title, cards, summary):
    sections = []
    for direction, heading in (("a2b", "A to B"), ("b2a", "B to A")):
        count = len(cards[direction])
        body = "\n".join(['<div class="grid">', *cards[direction], "</div>"]) if count else "<p>No test images.</p>"
        sections.append(f'<section id="{direction}">\n<h2>{heading} <small>({count})</small></h2>\n{body}\n</section>')
    page = _PAGE.substitute(mark=_MARK, title=html.escape(title), summary=summary, sections="\n".join(sections))
    # A file name that is not valid Unicode has no faithful text: its odd bytes show as question marks.
    (out_dir / "index.html").write_text(page, encoding="utf-8", errors="replace")


def _clear(out_dir, source_roots):
    """Remove the results of an earlier test, so that no image of it stays among the new ones.

    Only what `translate_folders` wrote is removed: the page is written first and says whose folder this is.
    """
    page = out_dir / "index.html"
    present = [out_dir / name for name in _FOLDERS if (out_dir / name).exists()]
    ours = page.is_file() and _MARK in page.read_text(encoding="utf-8", errors="replace")
    if (present or page.exists()) and not ours:
        raise FileExistsError(
            f"{out_dir} holds {(present or [page])[0].name!r}, and not the results of an earlier test, "
            "which would be overwritten. Choose another folder, or move its contents away."
        )
    for folder in present:
        for root in source_roots:
            if root is not None and pathlib.Path(root).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"The test images in {root} lie in {folder}, which is to be overwritten. Move them.")
    for folder in present:
        shutil.rmtree(folder)


def short_name(path):
    """A path with a last part that file systems take: a longer one is cut between two characters, with a hash.

    Args:
        path: relative `pathlib.PurePath`.
    """
    if len(os.fsencode(path.name)) <= NAME_BYTES:
        return path
    suffix = path.suffix if len(path.suffix) <= 8 else ""
    end = f"_{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}{suffix}"
    stem = path.name.removesuffix(suffix)
    while len(os.fsencode(stem + end)) > NAME_BYTES:
        stem = stem[:-1]
    return path.with_name(stem + end)


class Names:
    """Gives each source file its name in the results: the path below the root, as PNG as a rule.

    `x.jpg` becomes `x.png`. Where that name is taken, in the order in which the files come, the whole source name is
    kept: of `x.jpg` and then `x.png`, the second becomes `x.png.png`. Upper and lower case count as the same, for
    the file systems that think so. Names that become too long are cut, see `short_name`.

    Args:
        root: the folder below which the sources lie.
        taken: the names given so far, a set that roots whose results go into one folder share.
        keep: suffixes, in lower case, that need not become PNG.
    """

    def __init__(self, root, taken=None, keep=()):
        self.root = root
        self.taken = set() if taken is None else taken
        self.keep = keep

    def __call__(self, source):
        source = pathlib.Path(os.path.abspath(os.fsdecode(source)))
        root = pathlib.Path(os.path.abspath(self.root))
        if not source.is_relative_to(root):
            raise ValueError(f"{source} is not below the folder of the test images, {root}.")
        source = source.relative_to(root)
        name = short_name(source if source.suffix.lower() in self.keep else source.with_suffix(".png"))
        while str(name).casefold() in self.taken:
            # Longer each time, or with another hash, hence free in the end.
            source = source.with_name(source.name + ".png")
            name = short_name(source)
        self.taken.add(str(name).casefold())
        return name


def _save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path)


def translate_folders(gen_a2b, gen_b2a, batches_a, batches_b, out_dir, title, source_root_a, source_root_b):
    """Translate the test images of both domains into `out_dir`, and write a page that shows them.

    In `out_dir`: the translations in `a2b/` and `b2a/`, with the names that the images have below their source
    root and as PNG (`Names` has the rule for two that meet); in `inputs/a/` and `inputs/b/` the images as the
    network saw them; in `sheets/a2b/` and `sheets/b2a/` the seven pictures of each image (`sheets.ROWS`); and
    `index.html`, which refers to nothing outside `out_dir`. The results of an earlier test in `out_dir` are removed
    first. Each image is written as soon as it is translated, and they are translated one at a time.

    Args:
        gen_a2b, gen_b2a: the generators (see `sheets`). One may be None, if the images that it translates are empty.
        batches_a, batches_b: iterables of (images float [N,H,W,3] in [-1,1], N paths as str, bytes or a string
            tensor). Either may be empty.
        out_dir: the folder of the results, made where missing.
        title: heading of the page, plain text.
        source_root_a, source_root_b: the folders below which the paths lie; None for an empty domain.

    Returns:
        `{"a2b": number of images, "b2a": number of images}`.

    Raises:
        FileExistsError: `out_dir` holds something of the same names that no test wrote.
        ValueError: a path that is not below its source root; source images that would be overwritten.
        OSError: a result cannot be written.
    """
    out_dir = pathlib.Path(out_dir)
    _clear(out_dir, (source_root_a, source_root_b))
    out_dir.mkdir(parents=True, exist_ok=True)
    cards = {"a2b": [], "b2a": []}
    _write_page(out_dir, title, cards, "This test has not finished.")

    for direction, batches, root, gen_there, gen_back in (
        ("a2b", batches_a, source_root_a, gen_a2b, gen_b2a),
        ("b2a", batches_b, source_root_b, gen_b2a, gen_a2b),
    ):
        names = Names(root)
        for images, paths in batches:
            for image, path in zip(np.asarray(images), np.ravel(np.asarray(paths)), strict=True):
                name = names(path)
                column = sheets.sample_column(image, gen_there, gen_back)
                files = {
                    "input": pathlib.Path("inputs", direction[0], name),
                    "output": pathlib.Path(direction, name),
                    "sheet": pathlib.Path("sheets", direction, name),
                }
                _save(column[0], out_dir / files["input"])
                _save(column[sheets.TRANSLATION], out_dir / files["output"])
                _save(sheets.draw_sheet(column[None], across=True), out_dir / files["sheet"])
                cards[direction].append(
                    _CARD.substitute(
                        {part: html.escape(_url(file)) for part, file in files.items()},
                        name=html.escape(str(name)),
                        height=column.shape[1],
                        width=column.shape[2],
                    )
                )
    summary = (
        "Left the input, right its translation. Click a pair to enlarge it, with its heatmaps, identity and cycle."
    )
    _write_page(out_dir, title, cards, summary)
    return {direction: len(items) for direction, items in cards.items()}
