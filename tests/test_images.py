"""Image files are read as a viewer shows them, or refused by name; a folder says what it does not read."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dsrna_jax import data
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


# Folders


@pytest.fixture
def classes(tmp_path):
    """Two classes of five images."""
    for number, kind in enumerate(("cat", "dog")):
        (tmp_path / kind).mkdir()
        for index in range(5):
            Image.new("L", (8, 8), 10 * number + index).save(tmp_path / kind / f"{index}.png")
    return tmp_path


def everything(path):
    return [data.load(str(path), split) for split in ("train", "test")]


def test_images_of_deeper_folders_and_every_known_suffix_are_read(classes, caplog):
    deep = classes / "dog" / "outdoor" / "looks.like.png"
    deep.mkdir(parents=True)
    for suffix in (".jfif", ".AVIF", ".JPG", ".webp"):
        Image.new("RGB", (8, 8), RED).save(deep / f"a{suffix}")
    train, test = everything(classes)
    assert len(train) + len(test) == 14 and not caplog.text
    assert sum(int((part.labels == 1).sum()) for part in (train, test)) == 9


def test_what_is_not_read_is_counted_and_named_in_one_line(classes, caplog):
    for name in ("a.heic", "b.HEIC", "notes.txt", "plain"):
        (classes / "dog" / name).write_text("")
    (classes / "README.md").write_text("")
    data.load(str(classes), "train")
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"read 10 images of {classes}, and passed over 2 .heic, 1 .txt, 1 without suffix, such as ")
    assert f"{classes / 'dog' / 'a.heic'}; 1 .md in no class folder" in said and "\n" not in said


def test_a_folder_beside_train_without_its_classes_is_named(classes, caplog):
    (classes / "train").mkdir()
    for kind in ("cat", "dog"):
        (classes / kind).rename(classes / "train" / kind)
    (classes / "val" / "cat").mkdir(parents=True)
    (classes / "plane" / "jet").mkdir(parents=True)
    data.load(str(classes), "train")
    assert "plane, without a class of train" in caplog.text and "val" not in caplog.text
    for split in ("", ".", "..", "../train", str(classes)):
        with pytest.raises(InputError, match="expected a split that is a sub-folder of"):
            data.load(str(classes), split)


def test_where_nothing_is_left_the_error_says_what_there_is(classes):
    for file in (classes / "dog").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"dog holds no image, only 5 .heic: .*convert"):
        data.load(str(classes), "train")


def broken_link(path):
    path.symlink_to("nowhere")


def unix_socket(path):
    os.mknod(path, 0o140600)


@pytest.mark.parametrize(("make", "what"), [(os.mkfifo, "a pipe"), (unix_socket, "socket"), (broken_link, "a broken link")])
def test_what_is_no_file_never_blocks(classes, caplog, make, what):
    make(classes / "dog" / "x.txt")
    data.load(str(classes), "train")
    assert "1 .txt" in caplog.text
    make(classes / "dog" / "x.png")
    with pytest.raises(InputError, match=f"x.png: it is .*{what}"):
        data.load(str(classes), "train")


@pytest.mark.parametrize("target", ["..", ".", "../cat"])
def test_links_that_would_count_images_twice_are_refused(classes, target):
    (classes / "dog" / "again").symlink_to(target)
    with pytest.raises(InputError, match=r"again.* by a link"):
        data.load(str(classes), "train")


def test_a_link_to_another_place_is_followed(classes, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    Image.new("L", (8, 8)).save(place / "a.png")
    (classes / "dog" / "more").symlink_to(place)
    assert sum(map(len, everything(classes))) == 11


def test_a_class_whose_name_is_no_text_is_refused(classes):
    os.mkdir(os.fsencode(classes) + b"/caf\xe9")
    with pytest.raises(InputError, match=r"class folder 'caf\\udce9' in .* is not UTF-8"):
        data.load(str(classes), "train")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_read_is_named(classes):
    (classes / "dog" / "secret").mkdir(mode=0)
    with pytest.raises(InputError, match="cannot read the folder .*secret"):
        data.load(str(classes), "train")


@pytest.mark.parametrize("name", ["folder:", "folder:~nobody-of-that-name/x", "folder:a\0b", "folder:\n"])
def test_a_path_that_is_none_is_refused(name):
    with pytest.raises(InputError):
        data.load(name, "train")
