"""Image files are read as a viewer shows them, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dsrna_jax.data.decoding import Picture, decoded
from dsrna_jax.data.formats import FORMATS, readable_suffixes
from dsrna_jax.errors import InputError

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)


def scene():
    """6x4 (width x height) without any symmetry."""
    return np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)


def read(file, kind=None):
    return decoded(Picture(str(file), file, 0, (kind or readable_suffixes()[file.suffix],)), 0)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, rows, *, bits, colour, key):
    """A PNG of one row of samples, with a transparent colour, as Pillow cannot write it."""
    content = b"".join(
        b"\0" + int("".join(f"{v:0{bits}b}" for v in row), 2).to_bytes(len(row) * bits // 8, "big") for row in rows
    )
    width = len(rows[0]) // (3 if colour == 2 else 1)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", struct.pack(f">{len(key)}H", *key)), (b"IDAT", zlib.compress(content)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


# Orientation


# What EXIF 2.3 says of each value: the sides of the scene at which the 0th row and the 0th column of the file lie.
TURNED = {
    1: lambda scene: scene,  # top, left
    2: lambda scene: scene[:, ::-1],  # top, right
    3: lambda scene: scene[::-1, ::-1],  # bottom, right
    4: lambda scene: scene[::-1],  # bottom, left
    5: lambda scene: scene.transpose(1, 0, 2),  # left, top
    6: lambda scene: scene[:, ::-1].transpose(1, 0, 2),  # right, top
    7: lambda scene: scene[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda scene: scene[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_every_orientation_is_turned_upright(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](scene())))
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    stored.save(tmp_path / f"a{suffix}", exif=exif, **options)
    pixels = read(tmp_path / f"a{suffix}")
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels.astype(int) - scene()).max() <= (8 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_values_that_are_no_orientation_and_damaged_exif_data_say_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, content in ("strange.png", exif), ("damaged.png", b"Exif\0\0MM\0*\0\0\xff\xff"):
        Image.fromarray(scene()).save(tmp_path / name, exif=content)
        np.testing.assert_array_equal(read(tmp_path / name), scene())


def test_a_photo_of_several_cameras_is_its_main_picture(tmp_path):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLACK)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert read(tmp_path / "a.jpg")[0, 0, 0] > 250


# Transparency


def drawing(alpha=255, colour=BLACK):
    """A square on a transparent ground."""
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[3:9, 3:9] = *colour, alpha
    return pixels


@pytest.mark.parametrize("alpha, level", [(255, 0), (128, 127), (51, 204)])
@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", ".png"), ("LA", ".png"), ("P", ".png"), ("RGBA", ".webp"), ("RGBA", ".tif"), ("LA", ".tif")]
)
def test_what_is_transparent_lies_on_white(tmp_path, mode, suffix, alpha, level):
    image = Image.fromarray(drawing(alpha))
    if mode == "P":
        image = image.quantize(4)
    elif mode == "LA":
        image = image.convert(mode)
    image.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    pixels = read(tmp_path / f"a{suffix}")
    assert pixels.shape[2] == (1 if mode == "LA" else 3)
    expected = np.full((12, 12), 255)
    expected[3:9, 3:9] = level
    assert np.abs(pixels.astype(int) - expected[..., None]).max() <= 1


def test_a_gif_lies_on_white(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "a.gif")
    pixels = read(tmp_path / "a.gif")
    assert (pixels[0, 0] == 255).all() and (pixels[5, 5] == 0).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_any_bits_is_white(tmp_path, bits):
    png(tmp_path / "a.png", [[0, 1] * 8], bits=bits, colour=0, key=[1])
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0, :2, 0], [0, 255])


def test_a_transparent_colour_is_white(tmp_path):
    png(tmp_path / "a.png", [[*RED, *BLACK]], bits=8, colour=2, key=RED)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], [WHITE, BLACK])


def test_opaque_pixels_keep_their_values(tmp_path):
    opaque = np.dstack([scene(), np.full((4, 6), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), scene())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: Image.fromarray(drawing(colour=WHITE)).save(path), "white on a transparent ground"),
        (lambda path: Image.fromarray(drawing(colour=(252, 255, 251))).save(path), "white on a transparent ground"),
        (lambda path: Image.fromarray(drawing(alpha=0)).save(path), "is transparent"),
        (lambda path: png(path, [[65535, 0, 0, 0, 0, 0]], bits=16, colour=2, key=[65535, 0, 0]), "transparent colour of 16 bits"),
        (lambda path: png(path, [[1, 2]], bits=16, colour=0, key=[1]), "more than 8 bits"),
    ],
)
def test_transparency_that_would_mislead_is_refused(tmp_path, make, expected):
    make(tmp_path / "a.png")
    with pytest.raises(InputError, match=f"a.png .*{expected}"):
        read(tmp_path / "a.png")


# Modes and formats


def test_cmyk_and_16_bit_colours_are_read_by_their_value(tmp_path):
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), scene())
    content = (scene().astype(">u2") * 257).tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6 6 4 65535\n" + content)
    np.testing.assert_array_equal(read(tmp_path / "a.ppm"), scene())


def test_a_photo_in_cmyk_keeps_its_colours(tmp_path):
    colours = Image.new("RGB", (16, 16), RED)
    colours.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - RED).max() < 8


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif", ".avif"])
def test_animations_and_pages_are_refused(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLACK)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=f"a{suffix} has several frames or pages"):
        read(tmp_path / f"a{suffix}")


WRITTEN = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_is_read_under_each_of_its_suffixes_and_named_when_cut_short(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for suffix in FORMATS[kind]:
        file = tmp_path / f"a{suffix}"
        Image.fromarray(noise).save(file, kind)
        assert read(file).shape == (32, 32, 3)
        whole = file.read_bytes()
        for share in (0, 0.3, 0.7):
            file.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=f"cannot read the image .*a{suffix}: ") as caught:
                read(file)
            assert "\n" not in str(caught.value)


def test_a_file_is_opened_in_the_format_of_its_suffix_alone(tmp_path, monkeypatch):
    """PostScript would start Ghostscript."""
    Image.init()
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **options: started.append(arguments))
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"a.png: it is no PNG; replace"):
        read(tmp_path / "a.png")
    assert not started
    Image.fromarray(scene()).save(tmp_path / "b.png", "JPEG")
    with pytest.raises(InputError, match=r"b.png: it is no PNG, but JPEG: name it so; replace"):
        read(tmp_path / "b.png")
    assert not {"EPS", "WMF", "PDF"} & set(FORMATS)


def test_an_image_of_too_many_pixels_is_refused_in_our_words(tmp_path, monkeypatch, recwarn):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    for limit in (23, 11):  # Pillow warns above the limit, and refuses above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=r"the image .*a.png has more than .* million pixels"):
            read(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24)
    assert read(tmp_path / "a.png").shape == (4, 6, 3) and not recwarn.list


def test_exif_is_what_pillow_reads_too(tmp_path):
    """An independent reader turns the same way."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(read(tmp_path / "a.png"), np.asarray(ImageOps.exif_transpose(image)))
