"""Verification: properties of ONNX networks as VNN-COMP states them, and trained networks around test images.

instances  one network and one property, or a csv of them
config     the settings of a verification of a trained network
run        that verification, from a checkpoint to a folder of results
"""
