"""Folders of images: what is read, and one line that counts and names what is not."""

import os

import pytest
from PIL import Image

from dsrna_jax import data
from dsrna_jax.errors import InputError


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
        Image.new("RGB", (8, 8), (255, 0, 0)).save(deep / f"a{suffix}")
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
