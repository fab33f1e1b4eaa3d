"""What a paper claims, and whether the runs of a study bear it out: each configuration with its interval and verdict.

The claims are those of Xu et al., "Idempotence and Perceptual Image Compression", ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..metrics.intervals import summarise, t_quantile
from ..protocols import Score
from ..report.summary import ConfigurationSummary, Summary, values_of

HOLDS, FAILS, OPEN = "holds", "fails", "open"
DISTANCES = {"kid": "fid", "kd": "fd"}
"""In which a claim on distances is judged, the paper's network first: kernel distances, since their gain has an
interval; and the Fréchet distances that are told beside, as the paper has them."""
TOLERANCE = 0.1
"""How far, as a share, an error may be from what the trade-off's law says."""
LEAST = 6
"""Images: fewer tell nothing."""
VISIBLE = 1.0
"""8-bit levels: draws that differ by less are called alike."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """One configuration's."""

    label: str
    measured: str
    """With its 95 % interval."""
    expected: str
    """What the claim says of it."""
    verdict: str


@dataclass(frozen=True)
class Claim:
    """One sentence, and how it is judged."""

    name: str
    statement: str
    rule: str
    """When it holds."""
    judge: Callable[[Summary], Iterator[Evidence]]


@dataclass(frozen=True)
class Finding:
    """A claim with the evidence of one study."""

    claim: Claim
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> str:
        """Fails if it fails anywhere, holds if it holds everywhere."""
        found = {one.verdict for one in self.evidence}
        return FAILS if FAILS in found else HOLDS if found == {HOLDS} else OPEN

    @property
    def count(self) -> str:
        """`holds at 9 of 11, fails at 2`."""
        counts = {verdict: sum(one.verdict == verdict for one in self.evidence) for verdict in (HOLDS, FAILS, OPEN)}
        parts = [f"holds at {counts[HOLDS]} of {len(self.evidence)}"]
        parts += [f"fails at {counts[FAILS]}"] if counts[FAILS] else []
        return ", ".join(parts + ([f"open at {counts[OPEN]}"] if counts[OPEN] else []))


def findings(names: Sequence[str], summary: Summary) -> list[Finding]:
    """Judges those of these claims for which the summary has evidence. Raises KeyError for an unknown name."""
    judged = ((CLAIMS[name], tuple(CLAIMS[name].judge(summary))) for name in names)
    return [Finding(claim, evidence) for claim, evidence in judged if evidence]


def nearer(summary: Summary) -> Iterator[Evidence]:
    """The reconstructions as a set are nearer to the originals than the plain decodes of the same bitstreams."""
    for plain, drawn in pairs(summary, {1.0}):
        name = next((n for n in DISTANCES if f"{n}-gain" in drawn.estimates), None)
        if name is None:
            continue
        gain = drawn.estimates[f"{name}-gain"]
        verdict = OPEN if _few(gain) else HOLDS if _low(gain) > 0 else FAILS if _high(gain) < 0 else OPEN
        sides = [f"{metric} {_of(drawn, metric)} against {_of(plain, metric)}" for metric in (name, DISTANCES[name])]
        yield Evidence(drawn.label, f"nearer by {_text(gain)}: {', '.join(sides)}", "by more than 0", verdict)


def at_most_doubled(summary: Summary) -> Iterator[Evidence]:
    """E||X - X^||^2 is at most twice that of the plain decode."""
    for plain, drawn in pairs(summary, {1.0}):
        ratio = error_ratio(plain, drawn)
        if ratio is None:
            continue
        decibels = [None if v is None else 10 * math.log10(v) for v in (ratio.value, ratio.low, ratio.high)]
        limit = 10 * math.log10(2)
        shown = Score(decibels[0] or 0.0, decibels[1], decibels[2], ratio.count)
        yield Evidence(drawn.label, f"{_text(shown)} dB", f"at most {limit:.2f} dB", _at_most(shown, limit))


def follows_the_law(summary: Summary) -> Iterator[Evidence]:
    """(1 - a) g(y) + a X^ has the error (1 + a^2) D, where D is that of g(y)."""
    shades = {c.decoder["tradeoff"] for c in summary.configurations if c.decoder and "tradeoff" in c.decoder}
    if not shades:
        return
    for plain, drawn in pairs(summary, {*shades, 1.0}):
        shade = (drawn.decoder or {}).get("tradeoff", 1.0)
        ratio, law = error_ratio(plain, drawn), 1 + shade**2
        if ratio:
            expected = f"{law:.2f} times D, within {TOLERANCE:.0%}"
            yield Evidence(_with_shade(drawn, shade), f"{_text(ratio)} times D", expected, _near(ratio, law))


def exact(summary: Summary) -> Iterator[Evidence]:
    """Every reconstruction re-encodes to its bitstream, byte for byte."""
    for _, drawn in pairs(summary, None):
        runs = [row for row in drawn.rows if row.exact is not None]
        if runs:
            good = sum(bool(row.exact) for row in runs)
            share = summarise([row.image.sha256 for row in runs], [float(bool(row.exact)) for row in runs], "exact")
            found = f"{good} of {len(runs)} ({share.low:.1%} to {share.high:.1%})"
            alone = drawn.estimates.get("solver-recompression-psnr")
            before = f"; before certifying, re-compression at {_text(alone)} dB" if alone else ""
            yield Evidence(drawn.label, found + before, "all", HOLDS if good == len(runs) else FAILS)


def several(summary: Summary) -> Iterator[Evidence]:
    """Several draws of one bitstream differ, though all of them re-encode to it."""
    for _, drawn in pairs(summary, {1.0}):
        if score := drawn.estimates.get("diversity"):
            verdict = {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}[_at_most(score, VISIBLE)]
            yield Evidence(drawn.label, f"{_text(score)} levels of 255", f"above {VISIBLE:g}", verdict)


CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "perception",
            "Perceptual decoding is nearer to natural images than the plain decode of the same bitstream, at every "
            "rate.",
            "It holds where the whole 95 % interval of the gain is above 0: of the kernel distance (64x64 patches, "
            "times 1000) of the plain decodes less that of the reconstructions; a bootstrap over images.",
            nearer,
        ),
        Claim(
            "distortion",
            "Perceptual decoding at most doubles the squared error of the plain decode: it loses at most 3.01 dB of "
            "PSNR.",
            "It holds where the whole 95 % interval is below: Student's t of the ratio's logarithm, over images.",
            at_most_doubled,
        ),
        Claim(
            "tradeoff",
            "Between plain decode g(y) and reconstruction, (1-a) g(y) + a x has the error (1 + a²) D.",
            "It holds where the whole 95 % interval is within 10 % of the law. A solver that keeps nearer to the "
            "likeliest image than a fair draw would, errs less than the law says.",
            follows_the_law,
        ),
        Claim(
            "recompression",
            "The reconstruction re-encodes to the very bitstream that it was made of.",
            "It holds if every image does, byte for byte; intervals are Wilson's.",
            exact,
        ),
        Claim(
            "diversity",
            "A bitstream leaves many images open, and different seeds find different ones.",
            "It holds where the rms deviation between draws is above one 8-bit level.",
            several,
        ),
    )
}  # fmt: skip
"""By name."""


def pairs(summary: Summary, shades: set[float] | None) -> Iterator[tuple[ConfigurationSummary, ConfigurationSummary]]:
    """Each configuration that draws from a prior, with one of these trade-offs (None: any), and its plain decode."""
    plain = {_codec(c): c for c in summary.configurations if c.plain}
    for c in summary.configurations:
        drawn = c.decoder and c.decoder.get("generator")
        if drawn and _codec(c) in plain and (shades is None or (c.decoder or {}).get("tradeoff", 1.0) in shades):
            yield plain[_codec(c)], c


def error_ratio(plain: ConfigurationSummary, drawn: ConfigurationSummary) -> Score | None:
    """Squared error to the original of the drawn images, relative to that of their plain decodes.

    The interval is Student's t of the logarithm over images, by the delta method. None if either is not known.
    """
    before, after = squared_errors(plain), squared_errors(drawn)
    images = sorted(before.keys() & after.keys())
    if not images:
        return None
    b, a = (np.array([errors[image] for image in images]) for errors in (before, after))
    if not b.sum():
        return None
    return ratio_of_means(a, b)


def squared_errors(configuration: ConfigurationSummary) -> dict[str, float]:
    """By image, the mean over its draws, in squared 8-bit levels."""
    found: dict[str, list[float]] = {}
    for row in configuration.rows:
        if (decibels := values_of(row, configuration.plain).get("psnr")) is not None:
            found.setdefault(row.image.sha256, []).append(255**2 * 10 ** (-decibels / 10))
    return {image: sum(errors) / len(errors) for image, errors in found.items()}


def ratio_of_means(after: Values, before: Values) -> Score:
    """mean(after) / mean(before) of the same images, with a 95 % interval. One image, or an error of 0, has none."""
    value, count = float(after.mean() / before.mean()), len(after)
    if count < 2 or not value:
        return Score(value, count=count)
    influence = after / after.mean() - before / before.mean()
    half = t_quantile(count - 1) * float(influence.std(ddof=1)) / math.sqrt(count)
    return Score(value, value * math.exp(-half), value * math.exp(half), count)


def _codec(configuration: ConfigurationSummary) -> str:
    weights = {row.weights.get("codec") for row in configuration.rows}
    return f"{configuration.codec}{sorted(map(str, weights))}"


def _few(score: Score) -> bool:
    return score.low is None or score.high is None or score.count < LEAST


def _low(score: Score) -> float:
    return -math.inf if score.low is None else score.low


def _high(score: Score) -> float:
    return math.inf if score.high is None else score.high


def _at_most(score: Score, bound: float) -> str:
    """Is the score at most the bound?"""
    if _few(score):
        return OPEN
    return HOLDS if _high(score) <= bound else FAILS if _low(score) > bound else OPEN


def _near(ratio: Score, law: float) -> str:
    """Is the ratio within the tolerance of the law?"""
    low, high = law * (1 - TOLERANCE), law * (1 + TOLERANCE)
    if _few(ratio):
        return OPEN
    if low <= _low(ratio) and _high(ratio) <= high:
        return HOLDS
    return FAILS if _high(ratio) < low or _low(ratio) > high else OPEN


def _with_shade(configuration: ConfigurationSummary, shade: float) -> str:
    return configuration.label if "tradeoff" in configuration.label else f"{configuration.label} + tradeoff {shade:g}"


def _of(configuration: ConfigurationSummary, metric: str) -> str:
    score = configuration.estimates.get(metric)
    return f"{score.value:.3g}".replace("-", "−") if score else "–"


def _text(score: Score) -> str:
    """`1.83 (1.71 to 1.96)`."""
    digits = 1 if abs(score.value) >= 10 else 2
    shown = [f"{v:.{digits}f}".replace("-", "−") for v in (score.value, score.low, score.high) if v is not None]
    return shown[0] if len(shown) < 3 else f"{shown[0]} ({shown[1]} to {shown[2]})"
