"""Annotation files of labelling tools: finding, reading and drawing what they hold."""
