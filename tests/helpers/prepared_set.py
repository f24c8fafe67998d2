"""A small set as `tfds build` leaves it."""

import io
import json

from PIL import Image


def write_tfds(root, images, labels, name="toy", version="1.0.0", file_format="array_record", features=None):
    """A prepared tfds set, as `tfds build` leaves it."""
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module
    from tensorflow_datasets.proto import tf_example_pb2

    path = root / name / version
    path.mkdir(parents=True)
    writer = array_record_module.ArrayRecordWriter(str(path / f"{name}-train.{file_format}-00000-of-00001"), "group_size:1")
    for pixels, label in zip(images, labels, strict=True):
        encoded = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(encoded, "PNG")
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
        example.features.feature["label"].int64_list.value.append(label)
        writer.write(example.SerializeToString())
    writer.close()
    shape = (None, None, images[0].shape[2])
    features = features or {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
    tfds.features.FeaturesDict(features).save_config(str(path))
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    split = {"name": "train", "numBytes": "1", "shardLengths": [str(len(labels))], "filepathTemplate": template}
    info = {"fileFormat": file_format, "name": name, "version": version, "splits": [split]}
    (path / "dataset_info.json").write_text(json.dumps(info))
    return path
