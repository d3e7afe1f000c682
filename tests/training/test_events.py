"""What several trainings say alike is told once."""

from pixelwise.training.events import Alarmed, Said, each_once


def test_lines_that_were_told_before_are_left_out_and_alarms_never():
    told = []
    listener = each_once(told.append)
    data, alarm = Said("data", ("2 images",)), Alarmed(1, "flat-loss", "the loss is flat")
    for event in (data, alarm, data, Said("data", ("3 images",)), alarm):
        listener(event)
    assert told == [data, alarm, Said("data", ("3 images",)), alarm]
