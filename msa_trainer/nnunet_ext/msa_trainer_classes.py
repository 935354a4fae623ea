from msa_trainer.variants import *  # noqa: F403  the one import that nnU-Net's look-up needs
