"""YOLO: polygons in text files, named by a data.yaml."""
