"""Server-Sent Events, incrementally, as the WHATWG HTML standard (9.2.6) defines them.

Only the data of an event is kept: on the wires spoken here an event's name repeats what its JSON says.
"""

from __future__ import annotations

from sparecall.errors import InvalidArgument, InvalidDocument

__all__ = ["DEFAULT_MAX_EVENT_BYTES", "Parser", "encode"]

DEFAULT_MAX_EVENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_FEED = 0x0A
_CARRIAGE_RETURN = 0x0D


class Parser:
    """Turns the bytes of one event stream, cut anywhere, into the data of its events.

    What is left when the stream ends is an incomplete event and belongs to nobody, as the standard says.
    Not thread-safe: one parser reads one stream. Linear time in the bytes fed.
    """

    __slots__ = ("_at_start", "_data", "_failed", "_held", "_line", "_offset", "_skip_line_feed", "max_event_bytes")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        if max_event_bytes < len(_BYTE_ORDER_MARK):
            raise InvalidArgument(f"max_event_bytes is {max_event_bytes}; it must be at least {len(_BYTE_ORDER_MARK)}")
        self.max_event_bytes = max_event_bytes
        self._data: list[bytes] = []  # data lines of the event that is not yet complete
        self._held = 0  # their bytes, each with the line feed that joins it to the next
        self._line = bytearray()  # a line whose end has not come yet
        self._skip_line_feed = False  # the last byte was a carriage return: a line feed would belong to it
        self._at_start = True  # a byte order mark may still come
        self._offset = 0  # bytes fed by earlier calls
        self._failed = False

    def __repr__(self) -> str:
        return f"Parser(max_event_bytes={self.max_event_bytes}, pending={self.pending})"

    @property
    def pending(self) -> int:
        """Bytes held for the event that is not yet complete: never more than ``max_event_bytes``."""
        return self._held + len(self._line)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of each event that these bytes complete, multi-line data joined by line feeds.

        Raises `sparecall.errors.InvalidDocument`, at this call and at all later ones, when the lines held for one
        event exceed ``max_event_bytes``; events completed by the same call are lost with it.
        """
        # The usual case, one whole event of one line, touches no state. (Even a line feed that is still to be skipped
        # may stay so: between events an empty line means nothing.)
        size = len(data)
        if (
            data.find(b"\n") == size - 2
            and data.startswith(b"data: ")
            and data.endswith(b"\n\n")
            and size - 2 <= self.max_event_bytes
            and not (self._data or self._line or self._at_start or self._failed)
            and b"\r" not in data
        ):
            self._offset += size
            return [data[6:-2]]
        if self._failed:
            raise self._failure()
        events = self._feed(data)
        self._offset += size
        return events

    def _feed(self, data: bytes) -> list[bytes]:
        if self._at_start:
            data = self._without_byte_order_mark(data)
        if not data:
            return []
        if self._skip_line_feed:
            self._skip_line_feed = False
            if data[0] == _LINE_FEED:
                data = data[1:]
                if not data:
                    return []
        lines = data.splitlines()  # on bytes exactly CR, LF and CRLF
        last = data[-1]
        rest = b"" if last in (_LINE_FEED, _CARRIAGE_RETURN) else lines.pop()
        self._skip_line_feed = last == _CARRIAGE_RETURN
        events: list[bytes] = []
        if lines:
            if self._line:
                lines[0] = bytes(self._line) + lines[0]
                self._line.clear()
            self._take(lines, events)
        if rest:
            if self.pending + len(rest) > self.max_event_bytes:
                raise self._failure()
            self._line += rest
        return events

    def _take(self, lines: list[bytes], events: list[bytes]) -> None:
        limit, held, values = self.max_event_bytes, self._held, self._data
        for line in lines:
            if not line:
                if values:
                    events.append(values[0] if len(values) == 1 else b"\n".join(values))
                    values.clear()
                    held = 0
                continue
            if held + len(line) > limit:
                raise self._failure()
            if line.startswith(b"data"):
                if line.startswith(b"data: "):
                    value = line[6:]
                elif line.startswith(b"data:"):
                    value = line[5:]
                elif len(line) == 4:
                    value = b""
                else:
                    continue  # a field whose name only begins with "data"
                values.append(value)
                held += len(value) + 1
        self._held = held

    def _without_byte_order_mark(self, data: bytes) -> bytes:
        start = bytes(self._line) + data
        if len(start) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(start):
            self._line[:] = start  # still undecided
            return b""
        self._at_start = False
        self._line.clear()
        return start.removeprefix(_BYTE_ORDER_MARK)

    def _failure(self) -> InvalidDocument:
        self._failed = True
        self._line.clear()
        self._data.clear()
        self._held = 0
        return InvalidDocument(
            f"an event of the stream is larger than {self.max_event_bytes} bytes; raise max_event_bytes if it is meant to be",
            self._offset,
        )


def encode(data: bytes, *, event: str | None = None) -> bytes:
    r"""Return the bytes of one event. Line ends inside ``data`` (CR, LF, CRLF) reach the reader as ``\n``.

    Raises `sparecall.errors.InvalidArgument` for an event name with a line end in it.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if event is None:
        return b"data: " + data + b"\n\n"
    if "\n" in event or "\r" in event:
        raise InvalidArgument("an event name must not hold a line end")
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
