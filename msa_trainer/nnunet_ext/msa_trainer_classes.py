from msa_trainer.variants import *  # noqa: F403  the one import nnU-Net's look-up needs; see DESIGN, fixed point 1
