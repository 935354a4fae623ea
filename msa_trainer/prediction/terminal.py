"""What a run says on stderr: sentences above the progress bar, of each kind the first few."""

from __future__ import annotations

import re
import sys
from collections import Counter

from tqdm import tqdm

# A folder of pictures gives the same warning for every file.
MOST_ALIKE = 5


class Terminal:
    """Says sentences under the command's name; remembers how often each kind was said, not what."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()

    def say(self, sentence: str) -> None:
        """Print a sentence, whatever was printed before."""
        for line in sentence.splitlines():
            tqdm.write(f"msa predict: {line}", file=sys.stderr)

    def note(self, sentence: str) -> None:
        """Print a warning that begins with its file, unless five like it were printed."""
        # Of one kind are sentences that differ in numbers and bracketed names alone.
        kind = re.sub(r"\(.*?\)|[\d.]+|\S*\.json", "", sentence.partition(": ")[2])
        self._kinds[kind] += 1
        if self._kinds[kind] <= MOST_ALIKE:
            self.say(sentence)

    def close(self) -> None:
        """Say how many warnings were not printed."""
        left_out = sum(number - MOST_ALIKE for number in self._kinds.values() if number > MOST_ALIKE)
        if left_out:
            self.say(f"... and {left_out} more warnings like these; run.json has them all.")
