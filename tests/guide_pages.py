"""The code of a guide, as the page has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<kind>\{[\w-]+\}[ ]*)?(?P<language>\w+)\n(?P<body>.*?)^(?P=ticks)$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the caption that says where it belongs (or ""), its text."""

    language: str
    caption: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks of ``book/guides/PAGE.md``, in order."""
    found = []
    for match in FENCE.finditer((ROOT / "book" / "guides" / f"{page}.md").read_text(encoding="utf-8")):
        caption, text = "", match["body"]
        if match["kind"] and (option := re.match(r":caption: (.*)\n\n?", text)):
            caption, text = option[1], text[option.end() :]
        found.append(Block(match["language"], caption, text))
    return found
