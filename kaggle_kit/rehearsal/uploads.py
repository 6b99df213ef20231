"""Files that clients send to the storage."""

from __future__ import annotations

import re

from kaggle_kit.rehearsal.book import Book, StoredUpload
from kaggle_kit.rehearsal.exchange import Exchange


def take_upload(book: Book, exchange: Exchange) -> None:
    """A resumable upload: all at once, from a byte on, or the question how far it got (``bytes */N``)."""
    upload = book.upload(exchange.route.removeprefix("/storage/uploads/"))
    if upload is None:
        exchange.refuse(404, "Not found", "NOT_FOUND")
        return
    given = exchange.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-\d+/\d+", given)
    if not given.startswith("bytes */"):
        start = int(found.group(1)) if found else 0
        with open(book.place(upload), "r+b" if found and book.arrived(upload) >= start else "wb") as file:
            file.seek(start)
            file.truncate()
            for block in exchange.body():
                file.write(block)
                file.flush()
    _tell_how_far(book, exchange, upload)


def _tell_how_far(book: Book, exchange: Exchange, upload: StoredUpload) -> None:
    arrived = book.arrived(upload)
    if arrived >= upload.size:
        exchange.send_json({"name": upload.name, "size": str(arrived)})
    elif arrived:
        exchange.send(308, Range=f"bytes=0-{arrived - 1}")
    else:
        exchange.send(308)
