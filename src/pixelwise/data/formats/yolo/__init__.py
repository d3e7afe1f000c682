"""YOLO: polygons in text files, with classes named in a data.yaml."""
