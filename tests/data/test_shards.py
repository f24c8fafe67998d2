"""Tar shards hold the images of the folder that they were made from; a damaged shard is named in one line."""

import io
import itertools
import os
import tarfile

import numpy as np
import pytest
from image_files import write_folder
from streams import assert_same, batches, drawn

from dsrna_jax import data
from dsrna_jax.data.shards import shards_by_split
from dsrna_jax.data.sources import pictures
from dsrna_jax.errors import InputError


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_shards(root, folder, split="train", shards=2, prefix=""):
    """The images of a folder in shards, dealt in turn; those of even number have the label before the image."""
    classes = sorted(path.name for path in folder.iterdir())
    for number in range(shards):
        with tarfile.open(root / f"{prefix}{split}-{number:06}.tar", "w") as archive:
            for place, file in enumerate(sorted(folder.glob("*/*"))[number::shards]):
                key, label = f"{file.parent.name}/{file.stem}", str(classes.index(file.parent.name)).encode()
                entries = [(f"{key}{file.suffix.upper()}", file.read_bytes()), (f"{key}.cls", label)]
                for name, content in entries[:: -1 if place % 2 else 1]:
                    add(archive, name, content)
                add(archive, f"{key}.json", b"{}")
    return f"shards:{root}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for split in ("train", "test"):
        write_folder(root / split, per_class=3 if split == "train" else 1, seed=len(split))
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory, folder):
    root = tmp_path_factory.mktemp("shards")
    write_shards(root, folder / "train", prefix="toy-")
    return write_shards(root, folder / "test", "test", shards=1, prefix="toy-")


@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_hold_the_images_of_their_folder(folder, shards, split):
    ours, theirs = data.load(shards, split, image_size=8), data.load(f"folder:{folder}", split, image_size=8)
    assert ours.classes == theirs.classes == 3 and ours.class_names == ("0", "1", "2")
    pairs = [
        sorted((image.tobytes(), int(label)) for image, label in zip(read.images, read.labels, strict=True))
        for read in (ours, theirs)
    ]
    assert pairs[0] == pairs[1]


def test_streams_of_shards_have_the_batches_of_memory(shards):
    held, found = data.load(shards, "train", image_size=8), pictures(shards, "train")
    for step, batch in enumerate(drawn(batches(found))):
        indices = data.batch_indices(step, 4, len(held), 3, "train")
        np.testing.assert_array_equal(batch.images, held.images[indices])
        np.testing.assert_array_equal(batch.labels, held.labels[indices])


@pytest.mark.slow
def test_processes_read_the_shards_that_threads_read(shards):
    source = batches(pictures(shards, "train"), count=2)
    assert_same(drawn(source, workers=2), drawn(source))


def test_a_part_in_brackets_has_its_share_of_each_class(shards):
    assert np.bincount(data.load(f"{shards}[:34%]", "train", image_size=8).labels).tolist() == [1, 1, 1]


def test_classes_have_the_names_of_their_file(tmp_path, folder):
    name = write_shards(tmp_path, folder / "train")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    assert data.load(name, "train", image_size=8).class_names == ("ant", "bee", "cat")
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError, match="c02/.. in .*train-00000..tar has the label 2, but .*classes.txt has 2 classes"):
        data.load(name, "train", image_size=8)


def cut(root):
    file = root / "train-000001.tar"
    file.write_bytes(file.read_bytes()[:1000])


def compress(root):
    (root / "train-000001.tar").rename(root / "train-000001.tar.gz")


def duplicate(root):
    (root / "train-1.tar").write_bytes((root / "train-000001.tar").read_bytes())


def replace(*entries):
    def damage(root):
        with tarfile.open(root / "train-000001.tar", "w") as archive:
            for name, content in entries:
                add(archive, name, content)

    return damage


def join(root):
    with open(root / "train-000001.tar", "ab") as file:
        file.write((root / "train-000000.tar").read_bytes())


def pipe(root):
    (root / "train-000001.tar").unlink()
    os.mkfifo(root / "train-000001.tar")


def link(root):
    with tarfile.open(root / "train-000001.tar", "a") as archive:
        member = tarfile.TarInfo("c02/twin.cls")
        member.type, member.linkname = tarfile.LNKTYPE, archive.getnames()[0]
        archive.addfile(member)


def remove(root):
    for file in root.glob("*.tar"):
        file.unlink()


@pytest.mark.parametrize(
    "damage, message",
    [
        (cut, "cannot read the shard .*train-000001.tar: unexpected end of data; replace it"),
        (compress, "train-000001.tar.gz is compressed"),
        (duplicate, "are both shard 1 of train: remove one"),
        (remove, "holds no tar file: expected shards such as train-000000.tar"),
        (replace(("a.png", b"")), "a in .*train-000001.tar has no label: expected its class, a number, in a.cls"),
        (replace(("a.png", b""), ("a.cls", b"cat")), "a.cls in .*train-000001.tar is no label: .* got b'cat'"),
        (replace(("a.png", b""), ("a.jpg", b""), ("a.cls", b"0")), "train-000001.tar has two images a"),
        (replace(("a.png", b""), ("a.cls", b"0"), ("a.cls", b"1")), "train-000001.tar has two labels a"),
        (replace(("a.png", b""), ("a.cls", b"0" * 100 + b"1")), "a.cls in .*train-000001.tar is no label"),
        (join, "cannot read the shard .*train-000001.tar from byte .* on: its header is damaged there, or it is of several"),
        (pipe, "cannot read the shard .*train-000001.tar: it is not a regular file"),
        (link, "c02/.*.cls in .*train-000001.tar is a link, or has holes: pack the files as they are"),
        (replace(("a.png", b"broken"), ("a.cls", b"0")), "cannot read the image a in .*train-000001.tar: it is no PNG"),
    ],
    ids=[
        "cut",
        "compressed",
        "duplicate",
        "none",
        "no label",
        "word",
        "two images",
        "two labels",
        "long label",
        "joined",
        "pipe",
        "link",
        "no image",
    ],
)
def test_a_damaged_shard_is_named_in_one_line(tmp_path, folder, damage, message):
    name = write_shards(tmp_path, folder / "train")
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        data.load(name, "train", image_size=8)
    assert "\n" not in str(error.value)


def test_no_image_is_lost_in_silence_where_a_shard_is_damaged(tmp_path, folder, caplog):
    """A header is damaged at any of its bytes, or the file is cut at any member: an error, a warning, or the same images."""
    name = write_shards(tmp_path, folder / "train", shards=1)
    shard, whole = tmp_path / "train-000000.tar", data.load(name, "train", image_size=8)
    good = shard.read_bytes()
    with tarfile.open(shard) as archive:
        headers = [member.offset for member in archive]
    copies = [good[:header] for header in headers[1:]]
    for place in range(0, 512, 7):
        header = headers[place % len(headers)]
        copies.append(good[: header + place] + bytes([good[header + place] ^ 0x11]) + good[header + place + 1 :])
    lost = 0
    for content in copies:
        shard.write_bytes(content)
        caplog.clear()
        try:
            read = data.load(name, "train", image_size=8)
        except InputError as error:
            lost += "\n" not in str(error)
        else:
            assert caplog.text or (read.images.tobytes(), read.labels.tobytes()) == (
                whole.images.tobytes(),
                whole.labels.tobytes(),
            )
    assert lost > len(copies) / 3


@pytest.mark.parametrize(
    "name, split, message",
    [
        ("shards:", "train", "expected shards:PATH"),
        ("shards:nowhere", "train", "nowhere is not a folder"),
        (None, "validation", "expected shards validation-000000.tar, ... in .*, but its splits are: test, train"),
    ],
)
def test_shards_that_are_not_there_are_asked_for(shards, name, split, message):
    with pytest.raises(InputError, match=message):
        data.load(name or shards, split)


def test_missing_numbers_and_lone_labels_are_told(tmp_path, folder, caplog):
    name = write_shards(tmp_path, folder / "train", shards=3)
    (tmp_path / "train-000001.tar").rename(tmp_path / "train-20991231235959.tar")  # as far as that no list of them would fit
    with tarfile.open(tmp_path / "train-000002.tar", "a") as archive:
        add(archive, "lone.cls", b"1")
    data.load(name, "train", image_size=8)
    assert "numbers 1, 3 to 20991231235958 are missing" in caplog.text and "passed over 1 labels without an image" in caplog.text


@pytest.mark.parametrize("prefix", ["", "toy-", "of-cells_2012."])
@pytest.mark.parametrize(
    "name", ["{split}-{number:05}", "{split}_{number}", "{split}-{number:05}-of-00012", "{split}.{number}.of.12"]
)
def test_names_tell_the_split_the_number_and_how_many_there_are(tmp_path, caplog, prefix, name):
    names = {"train": [], "test": []}
    for split, number in itertools.product(names, range(12)):
        names[split].append(f"{prefix}{name.format(split=split, number=number)}.tar")
        (tmp_path / names[split][-1]).touch()
    found = shards_by_split(tmp_path)
    assert {split: [path.name for path in found[split]] for split in found} == names and not caplog.text
    for number in (3, 11):
        (tmp_path / names["train"][number]).unlink()
    shards_by_split(tmp_path)
    count, last = ("of the 12 ", ", 11") if "of" in name else ("", "")
    assert f"10 {count}shards of train; numbers 3{last} are missing" in caplog.text and "of test" not in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0-of-2", "train-2-of-2"], "train-2-of-2.tar is none of 2 shards: expected numbers from 0 to 1"),
        (["train-1-of-2", "train-3-of-2", "train-2-of-2"], "train-3-of-2.tar is none of 2 shards: expected numbers from 1 to 2"),
        (["train-0-of-2", "train-1-of-3"], "names of the shards of train in .* tell of 2 and 3 in all: remove those of one set"),
        (["train-0", "train-1-of-2"], "tell of no number and 2 in all"),
        (["train-of-2"], "cannot tell the split of .*train-of-2.tar"),
    ],
)
def test_names_that_contradict_each_other_are_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / f"{name}.tar").touch()
    with pytest.raises(InputError, match=message):
        shards_by_split(tmp_path)


def test_shards_may_be_numbered_from_1(tmp_path, caplog):
    for number in (1, 3):
        (tmp_path / f"train-{number}-of-3.tar").touch()
    shards_by_split(tmp_path)
    assert "2 of the 3 shards of train; numbers 2 are missing" in caplog.text
