"""Scenes of a few formats, small enough for tests; cards ask for small windows."""

import json

import numpy as np
import tifffile
from PIL import Image

SIZE = (230, 300)

CARD = "windows: 80\ngap: 16\n"


def pixels(size=SIZE, *, channels=3, dtype=np.uint8, seed=0):
    """Noise, in which every window differs from every other."""
    return np.random.default_rng(seed).integers(1, 250, (*size, channels)).astype(dtype)


def labels(size=SIZE):
    """Class ids 0 to 2: a wide band and two fields, so that all are in most parts."""
    mask = np.zeros(size, np.uint8)
    mask[::3] = 1
    mask[:, ::7] = 2
    return mask


def save_tiff(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = image[..., 0] if image.shape[-1] == 1 else image
    tifffile.imwrite(path, planes, photometric=options.pop("photometric", "minisblack"), **options)


def write_scene(folder, kind, name="city", size=SIZE, seed=0):
    """Write one image with its labels; the kinds are those of ``WRITERS``."""
    image, mask = pixels(size, seed=seed), labels(size)
    if kind != "labelme":
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    WRITERS[kind](folder, name, image, mask)
    return folder


def write_png(folder, name, image, mask):
    Image.fromarray(image).save(folder / f"images/{name}.png")
    Image.fromarray(mask).save(folder / f"masks/{name}.png")


def write_npy(folder, name, image, mask):
    np.save(folder / f"images/{name}.npy", image.astype(np.float32) / 250)
    np.save(folder / f"masks/{name}.npy", mask)


def write_tiff(folder, name, image, mask):
    deep = np.concatenate([image, image[..., :1]], -1).astype(np.uint16) * 9
    save_tiff(folder / f"images/{name}.tif", deep, tile=(64, 64), compression="zlib",
              planarconfig="contig", extrasamples=["unspecified"] * 3)  # fmt: skip
    save_tiff(folder / f"masks/{name}.tif", mask[..., None], rowsperstrip=7)


def write_raw_tiff(folder, name, image, mask):
    path = folder / f"images/{name}.tif"
    tifffile.imwrite(path, np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate")
    save_tiff(folder / f"masks/{name}.tif", mask[..., None])


def write_planar_tiff(folder, name, image, mask):
    path = folder / f"images/{name}.tif"
    tifffile.imwrite(path, np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate",
                     tile=(48, 64), compression="lzw", predictor=True)  # fmt: skip
    save_tiff(folder / f"masks/{name}.tif", mask[..., None], tile=(16, 16), compression="zlib")


def write_tiff_and_png(folder, name, image, mask):
    save_tiff(folder / f"images/{name}.tif", image, photometric="rgb", tile=(32, 48))
    Image.fromarray(mask).save(folder / f"masks/{name}.png")


def write_turned_jpeg(folder, name, image, mask):
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    turned.save(folder / f"images/{name}.jpg", exif=exif, quality=95)
    Image.fromarray(mask).save(folder / f"masks/{name}.png")


def write_colors(folder, name, image, mask):
    colors = np.array([(0, 0, 0), (250, 0, 0), (0, 0, 250)], np.uint8)
    Image.fromarray(image).save(folder / f"images/{name}.png")
    Image.fromarray(colors[mask]).save(folder / f"masks/{name}.png")


def write_classes(folder, name, image, mask):
    Image.fromarray(image).save(folder / f"images/{name}.png")
    for number, label in enumerate(("ground", "road", "house")):
        (folder / "masks" / label).mkdir(exist_ok=True)
        plane = np.where(mask == number, 255, 0).astype(np.uint8)
        Image.fromarray(plane).save(folder / f"masks/{label}/{name}.png")


def write_labelme(folder, name, image, mask):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.png")
    shapes = [
        {"label": label, "points": points, "shape_type": "polygon"}
        for label, points in (
            ("road", [[3, 3], [290, 10], [280, 200]]),
            ("house", [[100.5, 20], [180, 220], [20, 210]]),
        )
    ]
    content = {"version": "5", "shapes": shapes, "imagePath": f"{name}.png", "imageData": None,
               "imageHeight": mask.shape[0], "imageWidth": mask.shape[1], "flags": {}}  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content))


WRITERS = {
    "png": write_png,
    "tiff": write_tiff,
    "raw tiff": write_raw_tiff,
    "planar tiff": write_planar_tiff,
    "tiff and png": write_tiff_and_png,
    "npy": write_npy,
    "color": write_colors,
    "turned jpeg": write_turned_jpeg,
    "classes": write_classes,
    "labelme": write_labelme,
}


def write_small_map(folder):
    """Write a GeoTIFF with many small shapes all over, and a card."""
    boxes = [box_on_map(x, y, x + 9, y + 12) for x in range(4, 280, 31) for y in range(5, 210, 23)]
    write_map(folder, *boxes, crs="urn:ogc:def:crs:EPSG::32616")
    (folder / "dataset.yaml").write_text(CARD)
    return folder


def write_map(path, *geometries, size=SIZE, crs=None, nodata=None, name="city"):
    """Write a GeoTIFF with shapes of the classes house and road; geometries in its coordinates."""
    import rasterio

    path.mkdir(parents=True, exist_ok=True)
    place = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
    image = pixels(size)
    if nodata is not None:
        image[:, : size[1] // 3] = nodata
    with rasterio.open(
        path / f"{name}.tif", "w", driver="GTiff", count=3, height=size[0], width=size[1],
        dtype="uint8", crs="EPSG:32616", transform=place, tiled=True, blockxsize=64, blockysize=64,
        compress="deflate", nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(np.moveaxis(image, -1, 0))
    features = [
        {"type": "Feature", "properties": {"class": ("house", "road")[number % 2]}, "geometry": one}
        for number, one in enumerate(geometries)
    ]
    content = {"type": "FeatureCollection", "features": features}
    if crs is not None:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    (path / f"{name}.geojson").write_text(json.dumps(content))
    return path


def box_on_map(left, top, right, bottom):
    """A rectangle of pixels in the coordinates of :func:`write_map`."""
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return {
        "type": "Polygon",
        "coordinates": [[(733601 + 0.5 * x, 3725139 - 0.5 * y) for x, y in ring]],
    }
