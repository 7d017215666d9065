"""Read server-sent events. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """An event. kind: "message" where none was sent."""

    kind: str
    data: str


def events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events that stand in the lines of a stream; comments, which keep it alive, are passed over."""
    kind, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
