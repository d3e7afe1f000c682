"""Writes the results of the lab as a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from pixelwise.lab.bibliography import as_markdown_section
from pixelwise.lab.run import LabResult, load_results, side_by_side

HEAD = """# The lab: the articles' systems beside their figures

Written by `pixelwise lab table` from runs of `pixelwise lab run NAME --data FOLDER`. Each run uses
its article's recipe; differences are listed below its figures, and "3 of 30" epochs means that 3 of
the recipe's 30 epochs were trained. Figures refer to the validation split. Seconds cover training
and validation on the named device; "-" marks figures that an article does not state. All sources
are in the [bibliography](#bibliography).

The metric `keras` (`evaluate --metric keras`) adds recall, precision and binary accuracy of soft
masks as that framework computes them: every target above 0 is positive. It counts multilabel masks
only.
"""


def as_markdown(folder: Path) -> str:
    """Return one section for each result below a folder, and the bibliography.

    Raises:
        ConfigError: There is none.
    """
    results = load_results(folder)
    overview = [
        "| entry | parameters | GMAC | epochs | seconds | mean IoU |",
        "|---|---|---|---|---|---|",
        *(
            f"| [{result.name}](#{result.name}) | {result.parameters:,} | {result.gmacs:.4g} "
            f"| {result.epochs_in_words} | {result.seconds:.0f} "
            f"| {result.our_figures['mean_iou']:.4f} |"
            for result in results
        ),
    ]
    sections = (_section(result) for result in results)
    return "\n".join([HEAD, *overview, "", *sections, as_markdown_section()])


def _section(result: LabResult) -> str:
    height, width = result.size
    setting = (
        f"{result.title} ({_cited(result)}). Data: {result.data}, {height} x {width}, "
        f"{result.epochs_in_words} epochs, {result.seconds:.0f} s on {_machine(result)}, "
        f"seed {result.seed}."
    )
    lines = [
        f"## {result.name}",
        setting,
        "",
        "| validation | article | here |",
        "|---|---|---|",
        *(
            f"| {title} | {_shown(article)} | {_shown(ours)} |"
            for title, article, ours in side_by_side(result)
        ),
        "",
        *(f"- differs: {remark}" for remark in result.remarks),
        "",
    ]
    return "\n".join(lines)


def _cited(result: LabResult) -> str:
    """Return its citations; results of earlier versions name only the article."""
    return "; ".join(result.cited or (result.article,))


def _machine(result: LabResult) -> str:
    return f"{result.cores} cores" if result.device == "cpu" else result.device


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
