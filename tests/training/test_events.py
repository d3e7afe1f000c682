"""What several training runs say alike is told once."""

from pixelwise.training.events import Message, WarningRaised, each_once


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
