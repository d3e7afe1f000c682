"""COCO: instances as polygons and run lengths in JSON files."""
