"""Finds words that the glossary of the design has replaced, and British spelling.

One line for each word, as ``file:line: word: use ...``; exit 1 where there is any. Run by
``make check``. What must stay for a reason is in ``ALLOWED``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("src", "docs", "tests", "benchmarks", "examples", "*.md", "Makefile", "pyproject.toml")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".html", ".css", ".js", ""}

GLOSSARY: tuple[tuple[str, str], ...] = (  # a pattern on the lower-case text, and what to write
    (r"truths?", "mask, or ground truth"),
    (r"void", "ignored, ignore_index"),
    (r"exclusive", "multiclass"),
    (r"overlapping", "multilabel (overlapping is for tiles and shapes)"),
    (r"strays?", "unexpected values"),
    (r"self-?tests?|by heart", "sanity check, overfits one batch"),
    (r"running statistics (?:are )?held|batch_statistics", "BatchNorm is frozen"),
    (r"rates?", "learning rate"),
    (r"deviations?", "standard deviation"),
    (r"scoring", "metrics, evaluating"),
    (r"decides? alike|decides? as torch", "outputs match"),
    (r"go(?:es|ing)? on(?: with)?|gone on", "continue"),
    (r"anew", "again"),
    (r"mend(?:s|ed|ing)?", "fix"),
    (r"so many", "this many, number of"),
    (r"(?:the|design's) house|(?:every|several|only|upper|lower) rooms?", "module, package"),
)
BEFORE = {  # words that may stand in front, which make a word of the glossary a right one
    "truth": ("ground",),
    "deviation": ("standard",),
    "rate": ("learning", "frame", "error", "positive", "hit", "bit", "drop", "path"),
}
AFTER = {"overlapping": ("tile", "piece", "polygon", "object", "shape", "building", "window")}

BRITISH = re.compile(
    r"[a-z]+is(?:e|es|ed|er|ers|ing|ation|ations)|[a-z]+our(?:s|ed|ing|able|less|ful|hood|ite)?"
    r"|(?:label|travel|model|cancel|signal|channel|level|journal|fuel|total|tunnel|dial|equal"
    r"|spiral|panel|initial)l(?:ed|ing|er|ers)|grey[a-z]*|[a-z]*cent(?:re|res|red|ring)"
    r"|(?:kilo|centi|milli)?met(?:re|res)|(?:cata|ana)logue[a-z]*|artefact[a-z]*|neighbour[a-z]*"
    r"|[a-z]*lys(?:e|ed|es|ing)|programme|programmes|licence|judgement|fulfil|skilful|whilst"
    r"|amongst|learnt|burnt|spelt|misspelt|dreamt|defence|offence|towards"
)
AMERICAN = re.compile(  # words that only look British
    r"(?:[a-z]*w|[a-z]*ra|(?:de)?no|pra|cru|bru|po|a?r|compr|enterpr|surpr|exerc|prom|comprom"
    r"|(?:im)?prec|conc|prem|expert|disgu|parad|merchand|adv|rev|dev|superv|improv)"
    r"is(?:e|es|ed|er|ers|ing)"
    r"|(?:y|f|h|t|p|s|cont|det|dev|v)?our(?:s|ed|ing)?|analyses"
)
LAB_ONLY = re.compile(r"(?<![A-Za-z0-9])A[1-5](?![A-Za-z0-9])|[Kk][Ee][Rr][Aa][Ss]")
"""Articles by their numbers, and the framework that they use."""
LAB = re.compile(  # the lab, what it asks for, what is measured against that framework, the past
    r"(?:src/pixelwise|tests)/lab/|(?:src/pixelwise/cli|docs)/lab\b|metrics/(?:test_)?(?:conventions|extra)\.py$"
    r"|^benchmarks/|^docs/performance\.md$|^docs/decisions/|^CHANGELOG\.md$|^tests/cli/test_cli\.py$"
)

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

ALLOWED: tuple[tuple[str, str, str], ...] = (  # (file, line, why)
    (r"colou?r_tables\.py$", r"\"void\"", "names in color tables that other tools wrote"),
    (r"(bibliography\.yaml|docs/lab\.md|enhancement\.py)$", r"object colour perception", "a title"),
    (r"(bibliography\.yaml|docs/lab\.md)$", r"Gholipour", "an author"),
    (r"test_(color_masks|camvid|voc)\.py$", r"(?i)[\"\\n]void\b|unlabelled", "the same"),
    (r"camvid\.py$", r"called Void", "CamVid's own name of a color"),
    (r"cityscapes", r"\bvoid\b|ignoreInEval", "Cityscapes' own category"),
    (r"label_studio", r"was_cancelled", "a key in files of Label Studio"),
    (r"\.(cpp|c|h)$", r"\bvoid\b", "a type of C"),
)


def main() -> int:
    """Print every word that should be another one."""
    found = 0
    for path in _files():
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        for line, word, advice in (*_words(text), *_words_of_the_lab(name, text)):
            content = text.splitlines()[line - 1]
            if any(
                re.search(where, name) and re.search(what, content) for where, what, _ in ALLOWED
            ):
                continue
            print(f"{name}:{line}: {word}: use {advice}")  # noqa: T201
            found += 1
    return 1 if found else 0


def _files() -> Iterator[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *PLACES]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if path.suffix in SUFFIXES and path.is_file():
            yield path


def _words(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, word, advice) of every word that should be another one."""
    low = text.lower()
    for pattern, advice in GLOSSARY:
        spaced = pattern.replace(" ", r"[\s_]+")
        for match in re.finditer(rf"(?<![a-z])(?:{spaced})(?![a-z])", low):
            word = match.group(0)
            before = re.sub(
                r"[^a-z]+", " ", low[max(0, match.start() - 60) : match.start()]
            ).split()
            after = re.sub(r"[^a-z]+", " ", low[match.end() : match.end() + 60]).split()
            if before and before[-1] in BEFORE.get(word.rstrip("s"), ()):
                continue
            if after and after[0].startswith(AFTER.get(word, ("\0",))):
                continue
            yield low.count("\n", 0, match.start()) + 1, word, advice
    for number, line in enumerate(text.splitlines(), start=1):
        for word in (match.group(0).lower() for match in WORD.finditer(line)):
            if BRITISH.fullmatch(word) and not AMERICAN.fullmatch(word):
                yield number, word, "American spelling"


def _words_of_the_lab(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """(line, word, advice) of what only the lab may say."""
    if LAB.search(name):
        return
    for match in LAB_ONLY.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield line, match.group(0), "author, year and network; it belongs to the lab"


if __name__ == "__main__":
    sys.exit(main())
