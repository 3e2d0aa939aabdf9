"""The table."""


def render(counts):
    """A Markdown table of the most frequent words, and one line of totals."""
    width = max([len(word) for word, _ in counts.top] + [len("word")])
    lines = [f"| {'word':<{width}} | count | share |", f"|{'-' * (width + 2)}|------:|------:|"]
    for word, count in counts.top:
        lines.append(f"| {word:<{width}} | {count:>5} | {counts.share(count):>4.1f}% |")
    lines.append("")
    lines.append(f"{counts.total} words, {counts.distinct} different")
    return "\n".join(lines)
