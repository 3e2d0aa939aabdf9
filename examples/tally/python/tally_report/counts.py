"""The counts, checked."""

import json
from dataclasses import dataclass


class BadCounts(ValueError):
    """The text is not what tally prints."""


@dataclass(frozen=True)
class Counts:
    """How many words, how many different ones, and the most frequent as (word, count)."""

    total: int
    distinct: int
    top: tuple

    @classmethod
    def parse(cls, text):
        """Reads tally's JSON; raises BadCounts that says what is wrong."""
        try:
            raw = json.loads(text)
            counts = cls(raw["total"], raw["distinct"], tuple((e["word"], e["count"]) for e in raw["top"]))
        except json.JSONDecodeError as error:
            raise BadCounts(f"not JSON: {error}") from error
        except (KeyError, TypeError) as error:
            raise BadCounts(f"not tally's output: {error}") from error
        if sum(count for _, count in counts.top) > counts.total:
            raise BadCounts("the words of the top are more than all words")
        return counts

    def share(self, count):
        """The part of all words, in percent."""
        return 100.0 * count / self.total if self.total else 0.0
