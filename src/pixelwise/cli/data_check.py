"""Prints the findings of the data check on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelwise.cli.console import plain_console, print_table
from pixelwise.cli.wording import in_options

if TYPE_CHECKING:
    from pixelwise.doctor import Examination

MAX_LINES = 5
"""Maximum number of lines printed per finding; ``--json`` and ``--report`` have more."""

STYLES = {"refused": "bold red", "harmful": "bold yellow", "notable": "bold blue"}


def print_examination(examination: Examination) -> None:
    """Print the findings, the most harmful first, and the table of classes."""
    from rich.text import Text

    console = plain_console(soft_wrap=True)
    for finding in examination.findings:
        heading = Text.assemble(
            (f"{finding.severity:8}", STYLES[finding.severity]),
            finding.title,
            f"  [{finding.kind}]",
        )
        console.print(heading)
        for line in finding.details[:MAX_LINES]:
            for part in line.split("\n"):  # a question has several lines
                console.print(f"          {in_options(part)}")
        if len(finding.details) > MAX_LINES:
            more = len(finding.details) - MAX_LINES
            console.print(f"          ... and {more:,} more", style="dim")
        console.print(f"        → {in_options(finding.advice)}", style="dim")
    if examination.classes:
        console.print()
        _print_classes(examination)
        console.print()
    console.print(_verdict(examination))


def _print_classes(examination: Examination) -> None:
    from rich.table import Table

    splits = list(examination.num_images)
    table = Table("class", box=None, pad_edge=False)
    for heading in ("value", *splits, *(f"in {split}" for split in splits), "regions"):
        table.add_column(heading, justify="right")
    for row in examination.classes:
        table.add_row(
            row.name,
            str(row.value),
            *(f"{row.share.get(split, 0.0):.2%}" for split in splits),
            *(f"{row.images.get(split, 0):,}" for split in splits),
            f"{row.regions[0]:,}" if row.regions[0] else "-",
        )
    ignored = examination.ignored_share
    if any(ignored.values()):
        shares = (f"{ignored.get(split, 0.0):.2%}" for split in splits)
        table.add_row("ignored (of all)", "", *shares, *("" for _ in splits), "")
    print_table(table)


def _verdict(examination: Examination) -> str:
    counts = [
        f"{count} {severity}"
        for severity in STYLES
        if (count := sum(one.severity == severity for one in examination.findings))
    ]
    per_split = ", ".join(f"{count:,} {split}" for split, count in examination.num_images.items())
    found = ", ".join(counts) or "nothing found"
    noun = "image" if sum(examination.num_images.values()) == 1 else "images"
    return f"{examination.path}: {per_split or 'no'} {noun}; {found}"
