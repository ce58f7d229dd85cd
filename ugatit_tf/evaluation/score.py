"""Scores of translations: images go through the feature networks batch by batch, and features alone are kept."""

import os
import pathlib

import numpy as np

from ugatit_tf.data import images, pipeline
from ugatit_tf.evaluation.cache import cached_features
from ugatit_tf.metrics import distances, pairs, sample_size
from ugatit_tf.metrics.inception_score import inception_score
from ugatit_tf.metrics.manifold import precision_recall_density_coverage

DOMAINS = {"a2b": "ab", "b2a": "ba"}
BATCH = 4
_LEAST = 4  # images of a set: KID compares halves of it, and images within each
_NEIGHBOURS = 5
_SPLITS = 10


class Evaluator:
    """Scores translations of one set of images in each direction, on fixed real images.

    Real images are resized to the generator's size, and both kinds rounded to grey levels, before they reach the
    feature networks. Features of real images are cached on disk by content.

    Args:
        networks: list of `FeatureNetwork`.
        paths_a, paths_b: files of the real images; translated are those of one domain, and compared those of the other.
        size: side in pixels at which the generators work.
        paired: see `find_truths`; None: they are pairs where both domains have the same names.
        fit: what becomes of images that are not square, see `ugatit_tf.data.images.to_aspect`.

    Attributes:
        paired: whether the images are pairs.

    Raises:
        ValueError: a domain has fewer than 4 images; or see `find_truths`.
    """

    def __init__(self, networks, paths_a, paths_b, size, paired=None, fit="squeeze"):
        self.networks = networks
        self.size = size
        self.fit = fit
        self._paths = {"a": list(paths_a), "b": list(paths_b)}
        _check_counts({f"of domain {domain.upper()}": paths for domain, paths in self._paths.items()})
        truths = {
            direction: find_truths(self._paths[source], self._paths[target], paired)
            for direction, (source, target) in DOMAINS.items()
        }
        self.paired = None not in truths.values()
        self._truths = truths if self.paired else dict.fromkeys(DOMAINS)
        self._real = {}

    def score(self, direction, generator=None):
        """The scores of a generator's translations.

        Args:
            direction: `"a2b"` or `"b2a"`.
            generator: `ugatit_tf.models.Generator`, or a `tf.function` of one; None: images go untranslated.

        Returns:
            dict: `images` and `reference`, the numbers of both; `size`, the height and width at which they were
            compared; `features`, for each network's name what `measure` gives; and of pairs `pairs`, the mean `l1`
            (grey levels), `psnr` (dB) and `ssim` to the truth.
        """
        source, target = DOMAINS[direction]
        batches = self._translations(self._paths[source], generator)
        truths, distances_to_truth = self._truths[direction], []
        if truths is not None:
            batches = _comparing(batches, self._translations(truths), distances_to_truth)
        translated = collect(self.networks, batches)
        scores = {
            network.name: measure(network, features, self._features(index, target), self._features(index, source))
            for index, (network, features) in enumerate(zip(self.networks, translated, strict=True))
        }
        counts, size = (len(self._paths[source]), len(self._paths[target])), [self.size, self.size]
        return _result(*counts, size, scores, distances_to_truth)

    def pictures(self, direction, count, generator=None):
        """The first translations (without a generator: the images themselves), uint8 [count, size, size, 3]."""
        return np.concatenate(list(self._translations(self._paths[DOMAINS[direction][0]][:count], generator)))

    def truths(self, direction, count):
        """What the first translations should be, as `pictures` gives them; of paired images."""
        return np.concatenate(list(self._translations(self._truths[direction][:count])))

    def _translations(self, paths, generator=None):
        for batch, _ in pipeline.reading(pipeline.test_batches(paths, self.size, BATCH, self.fit)):
            yield images.to_uint8(batch if generator is None else generator(batch, training=False)[0])

    def _features(self, index, domain):
        """Features of a domain's real images, and class probabilities or None."""
        if (index, domain) not in self._real:
            network, paths = self.networks[index], self._paths[domain]

            def compute():
                return collect([network], self._translations(paths))[0]

            extra = f"{size_words([self.size, self.size])}, {self.fit}"
            self._real[index, domain] = cached_features(network, paths, compute, extra)
        return self._real[index, domain]


def score_folders(networks, translated, reference, paired=None, fit="squeeze"):
    """The scores of images that are there already.

    Translations of one size are compared with real images resized to it, as `Evaluator` does: the same translations
    get the same scores either way. Of several sizes, each image is taken in its own.

    Args:
        networks: list of `FeatureNetwork`.
        translated, reference: files of the images, and of the real ones they are compared with.
        paired: see `find_truths`.
        fit: what becomes of real images in other proportions than the translations', see
            `ugatit_tf.data.images.to_aspect`.

    Returns:
        As `Evaluator.score`; `size` is None where translations have several. A truth is resized to its image.

    Raises:
        ValueError: fewer than 4 images in either set, one that cannot be read; or see `find_truths`.
    """
    _check_counts({"translations": translated, "reference images": reference})
    truths = find_truths(translated, reference, paired) or ()
    sizes = set()

    def pictures():
        for path in translated:
            image = images.decode(path)
            sizes.add(image.shape[:2])
            yield image[None]

    found = collect(networks, pictures())
    size = list(*sizes) if len(sizes) == 1 else None

    def real(network):
        def compute():
            if size is None:
                batches = (images.decode(path)[None] for path in reference)
            else:
                batches = (_resized(path, size, fit)[None] for path in reference)
            return collect([network], batches)[0]

        return cached_features(network, reference, compute, f"{size_words(size)}, {fit}")

    scores = {
        network.name: measure(network, features, real(network))
        for network, features in zip(networks, found, strict=True)
    }
    distances_to_truth = []
    for path, truth in zip(translated, truths, strict=False):  # none where they are not paired
        image = images.decode(path)
        distances_to_truth.append(_compare(image, _resized(truth, image.shape[:2], fit)))
    return _result(len(translated), len(reference), size, scores, distances_to_truth)


def size_words(size):
    """A result's `size` in words: `"64 px"`, `"64x96 px"` or `"own size"`."""
    if size is None:
        return "own size"
    return f"{size[0]} px" if size[0] == size[1] else f"{size[0]}x{size[1]} px"


def _resized(path, size, fit):
    """A file's image, uint8, rounded as `Evaluator` rounds."""
    pixels = images.to_aspect(images.decode(path), fit, size)
    return images.to_uint8(pipeline.to_float(pipeline.resize(pixels, size)))


def measure(network, translated, reference, source=None):
    """Every metric of one set of features.

    Args:
        network: the `FeatureNetwork` they are from.
        translated, reference, source: (features, probabilities) of the translations, of the real images of their domain
            and, where known, of the images that were translated.

    Returns:
        dict of float: `kid`, `kid_error`, `fid`, `precision`, `recall`, `density`, `coverage`; `mean_kid` and
        `mean_kid_error` (see `metrics.distances.mean_kid`) with a source, `inception_score` and
        `inception_score_error` with probabilities. `note`: the network's; `warnings`: lines on the numbers'
        caveats.
    """
    features, probabilities = translated
    count = min(len(features), len(reference[0]))
    faults = [sample_size.shortfalls(name, count, network.dimension) for name in ("kid", "fid")]
    target = distances.kid(features, reference[0])
    scores = {"kid": target.value, "kid_error": target.standard_error, "fid": distances.fid(features, reference[0])}
    if source is not None:
        mean = distances.mean_kid(target, distances.kid(features, source[0]))
        scores |= {"mean_kid": mean.value, "mean_kid_error": mean.standard_error}
        faults.append(distances.MEAN_KID_WARNING)
    if count > _NEIGHBOURS:
        scores |= precision_recall_density_coverage(features, reference[0], _NEIGHBOURS)._asdict()
        faults.append(sample_size.shortfalls("precision_recall_density_coverage", count))
    if probabilities is not None and len(features) >= _SPLITS:
        # Splits are runs of images: in another order than the files', which may be sorted by what they show.
        order = np.random.default_rng(0).permutation(len(features))
        found = inception_score(probabilities[order], _SPLITS)
        scores |= {"inception_score": found.value, "inception_score_error": found.standard_error}
        faults.append(sample_size.shortfalls("inception_score", len(features)))
    scores = {name: float(value) for name, value in scores.items()}
    return {**scores, "note": network.note, "warnings": [line for line in faults if line]}


def collect(networks, batches):
    """Features of images that are seen once and not kept.

    Args:
        networks: list of `FeatureNetwork`.
        batches: uint8 [n, H, W, 3], one after the other.

    Returns:
        A list of (features [N, D], probabilities [N, K] or None), one for each network.
    """
    found = [[] for _ in networks]
    for batch in batches:
        for network, parts in zip(networks, found, strict=True):
            parts.append(network(batch))
    results = []
    for parts in found:
        features, probabilities = zip(*parts, strict=True)
        results.append((np.concatenate(features), None if probabilities[0] is None else np.concatenate(probabilities)))
    return results


def find_truths(paths, others, paired=None):
    """For each image the one that shows what its translation should be: its namesake, whatever the suffix.

    Args:
        paths, others: files of images.
        paired: whether namesakes show the same thing; None: they do where each image has exactly one.

    Returns:
        Files among `others`, in the order of `paths`; None where images are not paired.

    Raises:
        ValueError: `paired`, but some image has no namesake, or several.
    """
    if paired is False:
        return None
    names = [os.path.splitext(pathlib.Path(path).name)[0] for path in paths]
    named = {os.path.splitext(pathlib.Path(path).name)[0]: path for path in others}
    if len(named) == len(others) and len(set(names)) == len(names) and set(names) <= set(named):
        return [named[name] for name in names]
    if paired:
        raise ValueError(
            "These images are no pairs: each needs exactly one of the same name in the other folder. Rename them, or "
            "score them without --paired."
        )
    return None


def _check_counts(sets):
    if min(map(len, sets.values())) < _LEAST:
        received = " and ".join(f"{len(paths)} {name}" for name, paths in sets.items())
        raise ValueError(f"Scores need at least {_LEAST} images in each set; received {received}.")


def _comparing(batches, truths, collected):
    """The batches as they are; each image's distances to its truth are collected on the way."""
    for batch, truth in zip(batches, truths, strict=True):
        collected += [_compare(*pair) for pair in zip(batch, truth, strict=True)]
        yield batch


def _compare(image, truth):
    return pairs.l1(image, truth), pairs.psnr(image, truth), pairs.ssim(image, truth)


def _result(count, reference, size, scores, distances_to_truth):
    result = {"images": count, "reference": reference, "size": size, "features": scores}
    if distances_to_truth:
        result["pairs"] = dict(zip(("l1", "psnr", "ssim"), np.mean(distances_to_truth, 0).tolist(), strict=True))
    return result
