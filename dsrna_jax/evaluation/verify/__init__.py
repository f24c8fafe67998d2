"""Verification: properties of ONNX networks as VNN-COMP states them, and trained networks around test images.

answering  the answer to one instance: a network and a property
instances  a csv of instances, and a csv of results
config     the settings of a verification of a trained network
run        that verification, from a checkpoint to a folder of results
"""
