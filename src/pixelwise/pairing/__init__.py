"""Finds which pictures of any folder are images and which are their masks.

``tree`` lists a folder once, ``families`` finds sets of files with the same names, ``contents``
tells masks from images by their pixels, ``readings`` decides, and ``questions`` asks where nothing
is certain. ``listings`` reads lists of pairs. What is decided is a pair of ``templates``, which can
also be given. ``pixelwise.data.pairing`` makes records of it.
"""
