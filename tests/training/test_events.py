"""What several training runs say alike is told once."""

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

from pixelwise.training import events
from pixelwise.training.events import Message, WarningRaised, each_once
from pixelwise.training.loop import Trainer


def test_lines_that_were_told_before_are_left_out_and_problems_never():
    told = []
    listener = each_once(told.append)
    data, problem = (
        Message("data", ("2 images",)),
        WarningRaised(1, "flat-loss", "the loss is flat"),
    )
    for event in (data, problem, data, Message("data", ("3 images",)), problem):
        listener(event)
    assert told == [data, problem, Message("data", ("3 images",)), problem]


def documented():
    """The tables of docs/events.md: event -> fields."""
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
    sections = re.split(r"^### ", page.partition("## Loggers")[0], flags=re.MULTILINE)[1:]
    return {
        section.split("\n", 1)[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        for section in sections
    }


def test_every_event_is_documented_with_every_field():
    kinds = get_args(events.Event)
    assert documented() == {kind.__name__: [entry.name for entry in fields(kind)] for kind in kinds}


def test_the_listed_events_are_all_that_there_are():
    defined = {kind for kind in vars(events).values() if is_dataclass(kind)}
    assert defined == set(get_args(events.Event))


def test_the_columns_that_the_page_lists_are_those_of_the_history():
    source = inspect.getsource(Trainer._history_row)
    columns = re.findall(r'^            "(\w+)":', source, re.MULTILINE)
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `row` |"))
    assert re.findall(r"`(\w+)`", row.partition("dict:")[2]) == columns
