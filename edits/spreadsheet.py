"""Text tables as spreadsheets save them: bytes to records with true line numbers, or an error that says what is wrong.

Encoding, delimiter, quoting and limits live here. Knows no column's meaning, and repairs nothing.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from edits.errors import ManifestError, RowError, guess, quoted, shortened

MAX_BYTES = 256 * 2**20
MAX_LINE_BYTES = 2**20
MAX_FIELD = 64 * 2**10
"""Characters. Below the csv module's own limit, which is global and therefore left alone."""
MAX_RECORDS = 500_000

DELIMITERS = (",", ";", "\t")
_WINDOW = 2**20
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_WORKBOOKS = {b"PK\x03\x04": "an .xlsx or .ods workbook", b"\xd0\xcf\x11\xe0": "an .xls workbook"}
_SAVE_AS = "Save it as 'CSV UTF-8'."
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Record:
    """One row, as written: as many fields as the header has names, unless it has an error."""

    line: int
    """1-based line of the file on which the row begins, as an editor shows it."""
    fields: tuple[str, ...]
    error: RowError | None = None
    """Why it cannot be used as a row."""


@dataclass(frozen=True)
class Table:
    """A header, and one record a row, read while iterating."""

    header: tuple[str, ...]
    records: Iterator[Record]


def read_table(data: bytes, name: str, known: Collection[str]) -> Table:
    """Find encoding and delimiter of `data` and read its header. `known` column names tell the delimiters apart.

    Raises:
        ManifestError: not a text table; also while iterating, for a quote that never closes. `name` is in the message.
    """
    _check_content(data, name)
    encoding = _encoding(data, name)
    _check_lines(data, name, encoding)
    stream = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    line, number, forced = _header_line(stream, name)
    header, delimiter = _header(line, number, forced, name, known)
    return Table(header, _records(stream, number, delimiter, header, name))


# -- bytes ------------------------------------------------------------------------------------------------------------


def check_size(size: int, name: str) -> None:
    """Before the bytes are read, where their number is known.

    Raises:
        ManifestError: more bytes than a manifest may have.
    """
    if size > MAX_BYTES:
        raise ManifestError(f"{name}: a manifest has at most {MAX_BYTES >> 20} MiB. Split it into several.")


def _check_content(data: bytes, name: str) -> None:
    if not data.strip():
        raise ManifestError(f"{name}: the manifest is empty. Its first line names the columns: source,instruction")
    check_size(len(data), name)
    for magic, what in _WORKBOOKS.items():
        if data.startswith(magic):
            raise ManifestError(f"{name}: this is {what}, not CSV. {_SAVE_AS}")


def _encoding(data: bytes, name: str) -> str:
    """UTF-8 and UTF-16 by their marks, then UTF-8 if all of it is valid, then what Excel calls 'CSV' (cp1252)."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            if not _decodes(data, encoding):
                raise ManifestError(f"{name}: begins like {encoding} text but does not go on as such. {_SAVE_AS}")
            return encoding
    if (position := data.find(b"\0")) >= 0:
        raise ManifestError(f"{name}: byte {position} is 0: a binary file, or UTF-16 without its mark. {_SAVE_AS}")
    for encoding in ("utf-8", "cp1252"):
        if _decodes(data, encoding):
            return encoding
    raise ManifestError(f"{name}: neither UTF-8, UTF-16 nor Windows-1252 text: a binary file? {_SAVE_AS}")


def _decodes(data: bytes, encoding: str) -> bool:
    """Whether all of `data` is valid, a window at a time: the text of a large manifest is never held whole."""
    decoder = codecs.getincrementaldecoder(encoding)()
    view = memoryview(data)
    try:
        for start in range(0, len(view), _WINDOW):
            decoder.decode(view[start : start + _WINDOW], final=start + _WINDOW >= len(view))
    except UnicodeDecodeError:
        return False
    return True


def _check_lines(data: bytes, name: str, encoding: str) -> None:
    """Refuse an endless line before any of it becomes text. Jumps from window to window, so good files cost nothing."""
    newline = _newline(data, encoding)
    start = 0
    while len(data) - start > MAX_LINE_BYTES:
        end = data.rfind(newline, start, start + MAX_LINE_BYTES)
        if end < 0:
            number = data.count(newline, 0, start) + 1
            raise ManifestError(f"{name}, line {number}: longer than {MAX_LINE_BYTES >> 10} KiB. Is this a CSV file?")
        start = end + len(newline)


def _newline(data: bytes, encoding: str) -> bytes:
    codec = encoding if encoding != "utf-16" else "utf-16-be" if data.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    newline = "\n".encode(codec.removesuffix("-sig"))
    return newline if newline in data else "\r".encode(codec.removesuffix("-sig"))


# -- header -----------------------------------------------------------------------------------------------------------


def _header_line(stream: io.TextIOWrapper, name: str) -> tuple[str, int, str]:
    """(text, line number, delimiter that a `sep=` line before it sets): the first line that is not empty."""
    forced = ""
    for number, line in enumerate(stream, 1):
        text = line.rstrip("\r\n")
        if match := re.fullmatch(r"sep=([,;\t])", text):
            forced = match[1]
        elif text.strip(",;\t "):
            return text, number, forced
    raise ManifestError(f"{name}: the manifest is empty. Its first line names the columns: source,instruction")


def _header(line: str, number: int, forced: str, name: str, known: Collection[str]) -> tuple[tuple[str, ...], str]:
    """(column names, delimiter): the split that gives most known names, then most names."""
    splits = [(_split_header(line, delimiter), delimiter) for delimiter in (forced or DELIMITERS)]
    header, delimiter = max(splits, key=lambda split: (len(set(split[0]) & set(known)), len(split[0])))
    if not set(header) & set(known):
        raise ManifestError(
            f"{name}, line {number}: {quoted(line)} names no column. The first line names them: source,instruction"
        )
    unknown = [column for column in header if column not in known]
    if unknown:
        said = " ".join(_unknown(column, known) for column in unknown[:5])
        raise ManifestError(f"{name}, line {number}: {said} Known: {', '.join(known)}.")
    repeated = sorted(column for column, times in Counter(header).items() if times > 1)
    if repeated:
        raise ManifestError(f"{name}, line {number}: {', '.join(repeated)}: named twice. Keep one column of each name.")
    return header, delimiter


def _split_header(line: str, delimiter: str) -> tuple[str, ...]:
    """Names in lower case; unnamed columns at the end, which spreadsheets add, are left out (their cells are not)."""
    try:
        names = [field.strip().lower() for field in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        return ()
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _unknown(column: str, known: Collection[str]) -> str:
    if not column:
        return "a column between others has no name: name or delete it."
    return f"no column is called {quoted(column)}. {guess(column, known)}".rstrip()


# -- rows -------------------------------------------------------------------------------------------------------------


def _records(
    stream: io.TextIOWrapper, header_line: int, delimiter: str, header: tuple[str, ...], name: str
) -> Iterator[Record]:
    reader = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    found = 0
    while True:
        line = header_line + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _quoting_error(error, line, header_line + reader.line_num, name)
            continue
        joined = "".join(fields)
        if not joined or joined.isspace():
            continue
        found += 1
        if found > MAX_RECORDS:
            raise ManifestError(f"{name}, line {line}: more than {MAX_RECORDS} rows. Split the manifest into several.")
        yield _record(line, fields, joined, header)


def _quoting_error(error: csv.Error, first: int, last: int, name: str) -> Record:
    """A stray quote costs its row; a quote that swallows the rows after it makes the whole file doubtful."""
    if "end of data" in str(error) or "field limit" in str(error):
        raise ManifestError(
            f"{name}, line {first}: a quoted field begins in this row and does not end. Close the quote."
        ) from error
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    problem = f"the quotes of {lines} do not match."
    return Record(first, (), RowError(first, "", "", problem, 'Write "" for a quote inside quotes.'))


def _record(line: int, fields: list[str], joined: str, header: tuple[str, ...]) -> Record:
    width = len(header)
    if len(fields) < width:
        problem = f"the row has {len(fields)} of {width} fields."
        return _wrong(line, fields, header[len(fields)], "", problem, "Empty cells need their separators too.")
    if any(field.strip() for field in fields[width:]):
        problem = f"the row has {len(fields)} fields, the header {width} columns."
        return _wrong(line, fields, "", "", problem, "Put a text that holds the separator into quotes.")
    del fields[width:]
    if len(joined) > MAX_FIELD or _CONTROL.search(joined):
        return _unfit(line, fields, header)
    return Record(line, tuple(fields))


def _unfit(line: int, fields: list[str], header: tuple[str, ...]) -> Record:
    for column, text in zip(header, fields, strict=True):
        if len(text) > MAX_FIELD:
            return _wrong(line, fields, column, text, f"{len(text)} characters.", f"At most {MAX_FIELD}.")
        if match := _CONTROL.search(text):
            problem = f"holds the control character U+{ord(match[0]):04X}."
            return _wrong(line, fields, column, text, problem, "Type the text again without it.")
    return Record(line, tuple(fields))


def _wrong(line: int, fields: list[str], column: str, value: str, problem: str, remedy: str) -> Record:
    return Record(line, tuple(fields), RowError(line, column, shortened(value), problem, remedy))
