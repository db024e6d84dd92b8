"""Packed files: the standard compressors are the reference; a damaged stream is never taken for a shorter file."""

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from mpr.errors import DataError
from mpr.storage.lines import read_lines
from mpr.storage.unpack import open_bytes, stem

LINES = [f"line {index} äöü {'x' * (index % 7)}" for index in range(60)]
CONTENT = "".join(f"{line}\n" for line in LINES).encode()
PACKERS = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def texts(path: Path) -> list[str]:
    return [line.text for line in read_lines(path)]


@pytest.mark.parametrize("ending", PACKERS)
def test_every_packing_gives_the_same_lines_and_offsets(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"file.txt{ending}"
    path.write_bytes(PACKERS[ending](CONTENT))
    found = list(read_lines(path))
    assert [line.text for line in found] == LINES
    assert [line.number for line in found] == list(range(1, 61))
    assert all(CONTENT[line.offset :].startswith(line.text.encode()) for line in found)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_concatenated_streams_and_padding_are_read_to_the_end(tmp_path: Path, ending: str) -> None:
    pack = PACKERS[ending]
    path = tmp_path / f"file{ending}"
    for padding in (b"", b"\0" * 8):
        path.write_bytes(pack(CONTENT[:100]) + padding + pack(CONTENT[100:]) + padding)
        assert texts(path) == LINES


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_a_stream_cut_at_any_byte_is_refused(tmp_path: Path, ending: str) -> None:
    packed, path, words = PACKERS[ending](CONTENT), tmp_path / f"file{ending}", set()
    cuts = 0
    for size in range(len(packed)):
        path.write_bytes(packed[:size])
        with pytest.raises(DataError, match=r"cut short|damaged|is empty|is not") as caught:
            texts(path)
        assert str(path) in str(caught.value)
        words |= {word for word in ("cut short", "is empty", "is not") if word in str(caught.value)}
        cuts += 1
    print(f"{ending}: {cuts} cuts refused")
    assert cuts == len(packed) > 100
    assert words == {"cut short", "is empty", "is not"}


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_a_flipped_bit_never_changes_the_lines_in_silence(tmp_path: Path, ending: str) -> None:
    packed, path, refused = PACKERS[ending](CONTENT), tmp_path / f"file{ending}", 0
    for place in range(len(packed)):
        altered = bytearray(packed)
        altered[place] ^= 1 << (place % 8)
        path.write_bytes(altered)
        try:
            assert texts(path) == LINES  # such as the time stamp in a gzip header
        except DataError:
            refused += 1
    print(f"{ending}: {refused} of {len(packed)} flips refused")
    assert refused > 0.9 * len(packed)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_garbage_behind_a_stream_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"file{ending}"
    path.write_bytes(PACKERS[ending](CONTENT) + b"garbage " * 4)
    with pytest.raises(DataError, match="damaged"):
        texts(path)


def test_a_cut_stream_is_reported_behind_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"a\n" * 1000)[:-4])
    read = []
    with pytest.raises(DataError, match=r"file\.gz:\d+: is cut short") as caught:
        read.extend(line.number for line in read_lines(path))
    assert f"file.gz:{len(read) + 1}:" in str(caught.value)
    assert f"(after {len(read)} lines)" in str(caught.value)


def test_the_content_decides_and_a_wrong_name_is_explained(tmp_path: Path) -> None:
    hidden = tmp_path / "packed.txt"
    hidden.write_bytes(gzip.compress(CONTENT))
    assert texts(hidden) == LINES
    for name, words in {
        "plain.gz": "is named .gz but is not gzip data",
        "file.bz2": "is packed as .bz2",
        "file.zip": "is packed as .zip",
    }.items():
        (tmp_path / name).write_bytes(CONTENT)
        with pytest.raises(DataError, match=words):
            texts(tmp_path / name)


def test_missing_files_folders_and_locked_files_have_their_own_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_bytes(tmp_path / "nothing")
    with pytest.raises(DataError, match="is a folder, not a file"):
        open_bytes(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cannot be read: Not a directory"):
        open_bytes(tmp_path / "file" / "inner")


def test_one_step_unpacks_a_bomb_in_pieces(tmp_path: Path) -> None:
    """A kilobyte of gzip holds a megabyte of zeros; reading ten bytes must not unpack the hundred megabytes behind."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 100_000_000, 9))
    with open_bytes(path) as file:
        assert file.read1(10) == b"0" * 10
        raw = file.raw
        assert len(raw._ready) < 20_000_000  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("nq-test.qa.csv", "nq-test"),
        ("biencoder-nq-train.json.gz", "biencoder-nq-train"),
        ("a.b.jsonl.zst", "a.b"),
        ("plain", "plain"),
        (".gz", ".gz"),
        ("data/queries.tsv.xz", "queries"),
    ],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected
