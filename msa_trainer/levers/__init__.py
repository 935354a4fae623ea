"""What may help small lesions beyond network and adversary: the switches, and a file for each thing they switch."""

from msa_trainer.levers.switches import Levers, OptimizerName

__all__ = ["Levers", "OptimizerName"]
