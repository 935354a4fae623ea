"""`python -m msa_trainer`: the same as `msa`."""

import sys

from msa_trainer.cli import main

sys.exit(main())
