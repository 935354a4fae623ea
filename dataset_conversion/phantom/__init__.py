"""A simulator of annotated planar bone scans for the demo and the tests. A phantom is a phantom: no claim rests on it."""

from dataset_conversion.phantom.parameters import PhantomParameters
from dataset_conversion.phantom.study import PhantomView, simulate, write_phantom

__all__ = ["PhantomParameters", "PhantomView", "simulate", "write_phantom"]
