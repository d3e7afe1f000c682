"""The bibliography: what it holds, and that it holds everything that is cited."""

import re
from pathlib import Path

import pytest
import torch

import pixelwise
from pixelwise.errors import UnknownNameError
from pixelwise.lab.bibliography import Work, as_markdown_section, load_bibliography, work
from pixelwise.lab.catalog import list_entries, load_entry
from pixelwise.models import create_model, list_models, summarize_models

SOURCE = Path(pixelwise.__file__).parent
DOCS = SOURCE.parent.parent / "docs"

CITATION = re.compile(r"[A-Z]\w+(?: and [A-Z]\w+| et al\.)? \d{4}")


def test_a_citation_names_two_authors_or_the_first_of_more():
    assert work("long2015").cited_as == "Long et al. 2015"
    assert work("yu2016").cited_as == "Yu and Koltun 2016"
    assert work("holm1979").cited_as == "Holm 1979"
    assert work("nikolov2018").cited_as == "Nikolov et al. 2018"
    assert work("A3").cited_as == "A3"


def test_a_work_in_full_leaves_out_what_is_not_known():
    assert Work(key="A1", title="Digits").in_full == "Digits."
    paper = Work(key="b", authors=("Box", "Cox"), year=1964, title="Power", published="JRSS")
    assert paper.in_full == "Box, Cox (1964). Power. JRSS."
    assert "arXiv:1411.4038" in work("long2015").in_full


def test_the_articles_come_first_and_the_papers_in_order():
    keys = list(load_bibliography())
    assert keys[:5] == ["A1", "A2", "A3", "A4", "A5"]
    assert keys[5:] == sorted(keys[5:])
    papers = [load_bibliography()[key] for key in keys[5:]]
    assert all(paper.authors and paper.year for paper in papers)
    assert all(paper.key == f"{paper.authors[0].lower()}{paper.year}" for paper in papers)


def test_every_preprint_that_the_code_cites_is_in_the_bibliography():
    cited = {
        number
        for path in SOURCE.rglob("*.py")
        for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", path.read_text("utf-8"))
    }
    assert cited
    assert cited <= {entry.arxiv for entry in load_bibliography().values()}


def test_the_reference_of_every_model_is_in_the_bibliography():
    known = {entry.cited_as for entry in load_bibliography().values()}
    references = {summary.name: summary.reference for summary in summarize_models(2, 3)}
    with torch.device("meta"):
        references["smp"] = create_model("smp:unet:resnet18", 2, 3).reference
    assert set(references) == {*list_models(), "smp"}
    for name, reference in references.items():
        citations = CITATION.findall(reference)
        assert citations, name
        assert set(citations) <= known, name


def test_every_entry_of_the_lab_names_what_it_is_from():
    for name in list_entries():
        entry = load_entry(name)
        assert entry.works
        assert (entry.works[0].key == entry.article) is (entry.article != "beyond")


def test_an_unknown_work_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'long2015'"):
        work("long2014")


def test_the_documentation_holds_the_bibliography_as_it_is():
    assert as_markdown_section() in (DOCS / "lab.md").read_text("utf-8")
