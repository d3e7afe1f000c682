"""COCO: instances as polygons and run lengths in one JSON file."""
