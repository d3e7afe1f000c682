"""GeoJSON: polygons in the coordinates of a GeoTIFF."""
