"""``pixelwise lab``: trains the articles' systems and compares with the published figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.compare import print_comparison
from pixelwise.cli.console import AsJson, plain_console, print_json, print_table, say
from pixelwise.cli.progress import listening
from pixelwise.files import write_text
from pixelwise.text import rounded

app = typer.Typer(help="Train the systems of the articles with their recipes.")

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="The data set to train on. [default: digits, for entries that use them]",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Output folder, which must be new. [default: in runs/lab]"),
]


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override the article's recipe; may be repeated.", metavar="SECTION.KEY=VALUE"
    ),
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every system with its sources and the figures of its article."""
    from pixelwise.lab.catalog import MEASURES, list_entries, load_entry

    entries = [load_entry(name) for name in list_entries()]
    if as_json:
        print_json(
            [
                {**entry.model_dump(mode="json"), "works": [work.in_full for work in entry.works]}
                for entry in entries
            ]
        )
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("name", "model", "data"):
        table.add_column(title, no_wrap=True)
    table.add_column("system and the article's figures")
    for entry in entries:
        figures = ", ".join(f"{MEASURES[key]} {value:g}" for key, value in entry.figures.items())
        what = f"{entry.title} ({'; '.join(work.cited_as for work in entry.works)})"
        what = f"{what}: {figures}" if figures else what
        table.add_row(entry.name, entry.recipe.model.name, entry.data, what)
    print_table(table)
    console = plain_console()
    console.print()
    works = {work.key: work for entry in entries for work in entry.works}
    for key in sorted(works):
        console.print(f"{works[key].cited_as}: {works[key].in_full}")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="Name of an entry.", show_default=False)],
    data: Data = None,
    minutes: Annotated[
        float | None, typer.Option(help="Wall-clock budget instead of the article's epochs.")
    ] = None,
    out: Out = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train one system with its article's recipe and compare the figures with the article's."""
    from pixelwise.devices import keep_freed_memory
    from pixelwise.lab.run import run_entry, side_by_side

    keep_freed_memory()
    with listening() as listener:
        result = run_entry(
            name, data=data, minutes=minutes, out=out, overrides=overrides or (), listener=listener
        )
    if as_json:
        print_json(asdict(result))
        return
    say(f"{result.title} ({'; '.join(result.cited)})\n")
    say(f"{'validation':<24}{'article':>10}{'here':>10}")
    for title, article, ours in side_by_side(result):
        shown = ("-" if value is None else f"{value:.4f}" for value in (article, ours))
        say(f"{title:<24}" + "".join(f"{text:>10}" for text in shown))
    say(f"\n{result.parameters:,} parameters, {rounded(result.gmacs, 4)} GMAC at {result.size}")
    say(f"{result.epochs_in_words} epochs, {result.seconds:.0f} s of training, seed {result.seed}")
    for remark in result.remarks:
        say(f"differs: {remark}")
    say(f"run: {result.folder}")


@app.command("compare")
def compare(
    article: Annotated[str, typer.Argument(help="A1 to A5.", show_default=False)],
    data: Data = None,
    minutes: Annotated[
        float, typer.Option(help="Wall-clock budget of each system.", min=0.01)
    ] = 5.0,
    out: Out = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train an article's systems under one budget and compare them on one page."""
    from pixelwise.devices import keep_freed_memory
    from pixelwise.lab.compare import compare_article

    keep_freed_memory()
    with listening() as listener:
        results, comparison = compare_article(
            article,
            data=data,
            minutes=minutes,
            out=out,
            overrides=overrides or (),
            listener=listener,
        )
    if as_json:
        figures = [asdict(result) for result in results]
        print_json({**comparison.to_json(), "results": figures})
        return
    print_comparison(comparison, as_json=False)


@app.command("table")
def table(
    runs: Annotated[Path, typer.Argument(help="Folder with lab runs.")] = Path("runs/lab"),
    out: Annotated[
        Path | None, typer.Option(help="Markdown file to write. [default: stdout]")
    ] = None,
) -> None:
    """Write the results of all runs as a Markdown table."""
    from pixelwise.lab.table import as_markdown

    text = as_markdown(runs)
    if out is None:
        say(text)
        return
    write_text(out, text)
    say(f"written: {out}")
