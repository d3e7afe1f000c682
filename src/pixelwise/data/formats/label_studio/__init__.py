"""Label Studio: polygons, brushes, boxes and ellipses in one JSON file of tasks."""
