"""Image formats by the suffix of a file: the only ones that are ever opened.

A file is opened in the format that its suffix names. Pillow alone goes by the content, and would start Ghostscript for
PostScript in a file called `.png`.
"""

FORMATS = {
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "HEIF": (".heic", ".heif", ".hif"),  # where the caller has registered pillow-heif
    "ICO": (".ico",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "JPEG2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "PCX": (".pcx",),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
    "QOI": (".qoi",),
    "SGI": (".bw", ".rgb", ".rgba", ".sgi"),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}


def readable_suffixes() -> dict[str, str]:
    """Pillow's name of the format of every suffix in `FORMATS` that this Pillow, or a plugin of it, opens."""
    from PIL import Image

    Image.init()
    return {suffix: name for name, suffixes in FORMATS.items() if name in Image.OPEN for suffix in suffixes}
