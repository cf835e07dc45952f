"""Encodings from files have the ids that tiktoken and Hugging Face's tokenizers give; a bad file is a typed error."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sparecall import errors, tokens

WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
SHOUT = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "o200k": rf"{WORD}{ENDING}?|{SHOUT}{ENDING}?|\p{{N}}{{1,3}}|{REST}",
    "tekken": rf"{WORD}|{SHOUT}|\p{{N}}|{REST}",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "llama3": ENDING + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": ENDING + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen3.5": ENDING
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}
SOURCES = [
    path.read_text("utf-8", errors="replace") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:40]
]


def texts(count: int = 600) -> list[str]:
    """Random Unicode, what patterns treat in a way of its own, and slices of real text."""
    seeded = random.Random(11)
    parts = [
        "s",
        "A",
        "日",
        "\u0301",
        " ",
        "\n",
        "'",
        "'s",
        "'\u017f",
        "'LL",
        "7",
        "!",
        "/",
        "\r\n",
        "<|end|>",
        "é",
        "zing",
    ]

    def text() -> str:
        kind, length = seeded.randrange(4), seeded.randrange(60)
        if kind == 0:
            return (
                "".join(chr(seeded.randrange(0x110000)) for _ in range(length))
                .encode("utf-16", "replace")
                .decode("utf-16")
            )
        if kind == 1:
            return "".join(chr(seeded.randrange(0x3000)) for _ in range(length))
        if kind == 2:
            return "".join(seeded.choices(parts, k=length))
        source = seeded.choice(SOURCES)
        start = seeded.randrange(len(source))
        return source[start : start + 10 * length]

    return [text() for _ in range(count)]


def trained(pattern: str, *, form: str = "regex", ignore_merges: bool = False, nfc: bool = False) -> Tokenizer:
    """A small byte-level BPE over the standard library, with a special and two added tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if form == "byte_level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        how: Any = {"behavior": "removed", "invert": True} if form == "removed" else {"behavior": "isolated"}
        split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), **how)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    if nfc:
        tokenizer.normalizer = normalizers.NFC()  # type: ignore[no-untyped-call, unused-ignore]
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        SOURCES, trainers.BpeTrainer(vocab_size=1500, show_progress=False, initial_alphabet=alphabet)
    )
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    tokenizer.add_tokens([AddedToken("zing", normalized=True), AddedToken("é!", normalized=False)])
    return tokenizer


def agree(path: Path, oracle: Tokenizer) -> tokens.Encoding:
    """Fail where an encoding of that file gives other ids than tokenizers."""
    ours = tokens.load_encoding(path)
    for text in texts():
        expected = oracle.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, allowed_special="all") == expected, ascii(text)
    oracle.encode_special_tokens = True
    for text in texts():
        expected = oracle.encode(text, add_special_tokens=False).ids
        assert ours.encode_ordinary(text) == expected, ascii(text)
        assert ours.count(text) == len(expected)
    return ours


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern != "cl100k"])
def test_a_tokenizer_json_has_the_ids_that_tokenizers_gives(tmp_path: Path, pattern: str) -> None:
    oracle, path = trained(pattern), tmp_path / "tokenizer.json"
    oracle.save(str(path))
    ours = agree(path, oracle)
    assert ours.name == "tokenizer.json"
    assert ours.n_vocab == oracle.get_vocab_size(with_added_tokens=True)
    assert ours.special_tokens_set == {"<|end|>"}
    assert ours.encode_single_token("<|end|>") == oracle.token_to_id("<|end|>")
    for text in ("日本語 déjà vu\r\n", SOURCES[0]):
        ids = ours.encode_ordinary(text)
        assert ours.decode(ids) == text == oracle.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    "options", [{"form": "byte_level"}, {"form": "removed"}, {"ignore_merges": True}, {"nfc": True}], ids=str
)
def test_every_supported_form_of_the_file_has_the_ids_that_tokenizers_gives(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    oracle, path = trained("gpt2", **options), tmp_path / "tokenizer.json"
    oracle.save(str(path))
    agree(path, oracle)


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_merges_that_no_ranks_could_say_are_those_of_tokenizers(tmp_path: Path, ignore_merges: bool) -> None:
    file = json.loads(trained("qwen2", ignore_merges=ignore_merges).to_str())
    file["added_tokens"] = []
    seeded, model = random.Random(3), file["model"]
    seeded.shuffle(model["merges"])  # a token's parts may now be made after it
    for made in ("Ġselfish", "zzz", "ĊĊĊĊĊĊ"):
        model["vocab"][made] = len(model["vocab"]) + 100  # no merge makes them; the ids have holes
    path = tmp_path / "tokenizer.json"
    for spelling in ("pairs", "texts"):
        if spelling == "texts":
            model["merges"] = [" ".join(pair) for pair in model["merges"]]
        path.write_text(json.dumps(file))
        agree(path, Tokenizer.from_file(str(path)))


def ranks(count: int) -> dict[bytes, int]:
    """The first tokens of o200k_base."""
    return {tokens.get_encoding("o200k_base").decode_single_token_bytes(i): i for i in range(count)}


def write(path: Path, of: dict[bytes, int], end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join(b"%s %d%s" % (base64.b64encode(token), rank, end) for token, rank in of.items()))
    return path


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ranks_have_the_ids_that_tiktoken_gives(tmp_path: Path, pattern: str) -> None:
    of = ranks(5000)
    seeded = random.Random(8)
    for token in seeded.sample(sorted(token for token in of if len(token) == 2), 40):
        del of[token]  # longer ones are now made otherwise, or not at all: those are tokens as whole pieces alone
    special = {"<|end|>": 7000, "<|start|>": 7001}
    oracle = tiktoken.Encoding("mine", pat_str=PATTERNS[pattern], mergeable_ranks=of, special_tokens=special)
    path = write(tmp_path / "mine.tiktoken", of, b"\r\n")
    for given in (pattern, PATTERNS[pattern]):
        ours = tokens.load_encoding(path, name="mine", pattern=given, special_tokens=special)
        for text in texts():
            assert ours.encode(text, allowed_special="all") == oracle.encode(text, allowed_special="all"), ascii(text)
            assert ours.count(text) == len(oracle.encode_ordinary(text))
    for attribute in ("name", "n_vocab", "max_token_value", "special_tokens_set"):
        assert getattr(ours, attribute) == getattr(oracle, attribute)
    assert ours.token_byte_values() == oracle.token_byte_values()


def test_ranks_in_an_order_that_no_training_gives_are_merged_as_tiktoken_merges_them(tmp_path: Path) -> None:
    singles, longer = ranks(256), [token for token in ranks(3000) if len(token) > 1]
    random.Random(2).shuffle(longer)
    of = singles | {token: 256 + 3 * i for i, token in enumerate(longer)}
    oracle = tiktoken.Encoding("mine", pat_str=PATTERNS["gpt2"], mergeable_ranks=of, special_tokens={})
    ours = tokens.load_encoding(write(tmp_path / "mine", of), pattern="gpt2")
    for text in texts():
        assert ours.encode_ordinary(text) == oracle.encode_ordinary(text), ascii(text)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_texts_that_grow_and_parts_of_texts_count_by_a_loaded_encoding(tmp_path: Path, pattern: str) -> None:
    encoding = tokens.load_encoding(write(tmp_path / "ranks.tiktoken", ranks(3000)), pattern=pattern)
    for text in texts(60):
        meter, prefix = tokens.Meter(encoding), tokens.Prefix(text, encoding)
        for at in range(0, len(text), 7):
            assert meter.append(text[at : at + 7]) == encoding.count(text[: at + 7])
            assert prefix.count(at, at + 20) == encoding.count(text[at : at + 20])
        short = tokens.truncate(text, 5, encoding, keep="both", marker="~")
        assert short == text if encoding.count(text) <= 5 else encoding.count(short) <= 5
    assert (meter.encoding, prefix.encoding) == (encoding.name, encoding.name)
    assert f"encoding='{encoding.name}'" in repr(meter.copy())


def test_an_encoding_that_changes_its_text_first_counts_whole_texts_only(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    trained("qwen2", nfc=True).save(str(path))
    encoding = tokens.load_encoding(path)
    for use in (
        tokens.Meter,
        lambda encoding: tokens.Prefix("a", encoding),
        lambda encoding: tokens.truncate("a", 1, encoding),
    ):
        with pytest.raises(errors.InvalidArgument, match="count whole texts with its own count"):
            use(encoding)
    with pytest.raises(TypeError, match="encoding must be str or Encoding, not int"):
        tokens.Meter(5)  # type: ignore[arg-type]
    with pytest.raises(errors.UnknownName):
        tokens.Meter("qwen")


def test_the_whole_of_o200k_base_loads_as_itself(tmp_path: Path) -> None:
    shipped = tokens.get_encoding("o200k_base")
    of = {token: shipped.encode_single_token(token) for token in shipped.token_byte_values()}
    ours = tokens.load_encoding(write(tmp_path / "o200k_base.tiktoken", of), pattern="o200k")
    for text in [*SOURCES, *texts(300)]:
        assert ours.encode_ordinary(text) == shipped.encode_ordinary(text)
    assert ours.count("a" * 300_000) == shipped.count("a" * 300_000)


def test_a_loaded_encoding_is_not_pickled_and_has_no_end_of_text_of_its_own(tmp_path: Path) -> None:
    ours = tokens.load_encoding(write(tmp_path / "mine", ranks(300)), pattern="gpt2")
    with pytest.raises(TypeError, match="load the file where it is needed"):
        pickle.dumps(ours)
    with pytest.raises(TypeError):
        copy.copy(ours)
    with pytest.raises(KeyError):
        _ = ours.eot_token


def byte_level(**changes: Any) -> dict[str, Any]:
    """The smallest tokenizer.json there is, and changes to it."""
    vocab = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    model = {"type": "BPE", "vocab": vocab | {"ab": 256}, "merges": ["a b"]}
    file = {"model": model, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": []}
    model.update(changes.pop("model", {}))
    vocab = changes.pop("vocab", {})
    model["vocab"] = {**model["vocab"], **vocab} if isinstance(model["vocab"], dict) else model["vocab"]  # type: ignore[dict-item]
    return file | changes


BYTES = {"type": "ByteLevel", "use_regex": False}
LIMITS = [{"id": 300 + i, "content": f"<{i}>", "special": True} for i in range(16_385)]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Unigram": (
        byte_level(model={"type": "Unigram", "vocab": [["a", -1.0]]}),
        "a model of type Unigram is not supported",
    ),
    "WordPiece": (byte_level(model={"type": "WordPiece"}), "a model of type WordPiece is not supported"),
    "byte fallback": (byte_level(model={"byte_fallback": True}), "byte_fallback is not supported"),
    "dropout": (byte_level(model={"dropout": 0.1}), "dropout is not supported"),
    "suffix": (byte_level(model={"end_of_word_suffix": "</w>"}), "end_of_word_suffix is not supported"),
    "normalizer": (byte_level(normalizer={"type": "NFKC"}), "the normalizer NFKC is not supported, only NFC is"),
    "normalizers": (
        byte_level(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
        "the normalizer Lowercase",
    ),
    "no pre-tokenizer": (byte_level(pre_tokenizer=None), "it has no pre_tokenizer"),
    "Metaspace": (
        byte_level(pre_tokenizer={"type": "Metaspace", "replacement": "▁"}),
        "the pre_tokenizer Metaspace is",
    ),
    "prefix space": (byte_level(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}), "add_prefix_space"),
    "no regex": (byte_level(pre_tokenizer=BYTES), "this order of pre_tokenizers is not supported"),
    "two splits": (
        byte_level(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "Split"}, BYTES]}),
        "this order of pre_tokenizers is not supported",
    ),
    "split by a text": (
        byte_level(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated"}, BYTES],
            }
        ),
        "this Split is not supported",
    ),
    "stripped token": (
        byte_level(added_tokens=[{"id": 300, "content": "<mask>", "lstrip": True}]),
        "the added token of id 300 has single_word, lstrip or rstrip",
    ),
    "another id": (
        byte_level(added_tokens=[{"id": 300, "content": "ab"}]),
        "of id 300 would get the id 256 in tokenizers",
    ),
    "not the next id": (
        byte_level(added_tokens=[{"id": 300, "content": "<x>"}]),
        "of id 300 would get the id 257 in token",
    ),
    "taken id": (
        byte_level(vocab={"c": 257}, added_tokens=[{"id": 257, "content": "<x>"}]),
        "that of another token too",
    ),
    "empty token": (byte_level(added_tokens=[{"id": 257, "content": ""}]), "the added token of id 257 has no text"),
    "same text": (
        byte_level(added_tokens=[{"id": 257, "content": "<x>"}, {"id": 258, "content": "<x>"}]),
        "the special token of id 258 has the text of another",
    ),
    "digits": (
        byte_level(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": PATTERNS["cl100k"]}, "behavior": "Isolated"},
                    BYTES,
                ],
            }
        ),
        r"a Split by \p{N}{1,3}+ is not supported",
    ),
    "too many added": (byte_level(added_tokens=LIMITS), "a list has more than 16384 entries"),
    "same id": (byte_level(vocab={"c": 256, "cd": 256}), "two tokens have the id 256"),
    "same id as no bytes": (byte_level(vocab={"▁": 256}), "the id 256 is above 8388607, or that of two tokens"),
    "high id": (byte_level(vocab={"cd": 8_388_608}), "the id 8388608; ids up to 8388607 can be loaded"),
    "negative id": (byte_level(vocab={"cd": -1}), "a value has the wrong type at line 1 column"),
    "long token": (byte_level(vocab={"x" * 513: 300}), "the token of id 300 is longer than 512 bytes"),
    "unknown part": (byte_level(model={"merges": ["a b", "a xyz"]}), "merge 1 is of tokens that the vocabulary lacks"),
    "unknown whole": (byte_level(model={"merges": [["a", "c"]]}), "merge 0 is of tokens that the vocabulary lacks"),
    "merge of three": (byte_level(model={"merges": ["a b c"]}), "a merge is not of two tokens"),
    "merge of one": (byte_level(model={"merges": [["a"]]}), "a merge is not of two tokens"),
    "merge twice": (byte_level(model={"merges": ["a b", "a b"]}), "merge 1 is in the list twice"),
    "no vocabulary": (byte_level(model={"vocab": None}), "its model has no vocab"),
    "no merges": (byte_level(model={"merges": None}), "its model has no merges"),
    "a byte missing": (byte_level(model={"vocab": {"a": 0, "b": 1, "ab": 2}}), "no token is the single byte 0x00"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_with_a_tokenizer_json_is_said(tmp_path: Path, kind: str) -> None:
    file, message = REFUSED[kind]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    with pytest.raises(errors.TokenizerFileError) as caught:
        tokens.load_encoding(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_split_by_an_unknown_regex_lists_the_known(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\p{Han}+|\s+"}, "behavior": "Isolated", "invert": False}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(byte_level(pre_tokenizer={"type": "Sequence", "pretokenizers": [split, BYTES]})))
    with pytest.raises(
        errors.UnknownName, match=r"unknown pattern .*known: o200k, cl100k, llama3, qwen2, qwen3\.5, gpt2"
    ):
        tokens.load_encoding(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no token is the single byte 0x00"),
        (b"{", "it is not the JSON of a tokenizer: EOF while parsing"),
        (b"{}", "missing field `model`"),
        (b'{"model": "secret"}', "a value has the wrong type at line 1 column"),
        (b'{"model": ' + b"[" * 100_000, "a value has the wrong type"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "model": {}}', "it has no pre_tokenizer"),
        (
            b'{"model": {}, "pre_tokenizer": ' + b'{"type": "Sequence", "pretokenizers": [' * 1000,
            "recursion limit exceeded",
        ),
        (b'{"model": {"vocab": {"\xff": 1}}}', "it is not the JSON of a tokenizer"),
        (b"YQ== x", "line 1 is not a token"),
        (b"YQ==", "line 1 is not a token"),
        (b"YQ== 1\nYg== 2 3", "line 2 is not a token"),
        (b"YQ== +1", "line 1 is not a token"),
        (b"YQ== -1", "line 1 is not a token"),
        (b"YQ== 4294967296", "line 1 is not a token"),
        (b"YQ== 8388608", "ids up to 8388607 can be loaded"),
        (b"Y 1", "line 1 is not a token"),
        (b"\xff\xfe 1", "line 1 is not a token"),
        (b"YQ== 1\nYQ== 2", "the ids 1 and 2 have the same bytes"),
        (b"YQ== 1\nYg== 1", "two tokens have the id 1"),
        (base64.b64encode(b"a" * 513) + b" 7", "the token of id 7 is longer than 512 bytes"),
        (b"secret " * 10, "line 1 is not a token"),
    ],
)
def test_a_damaged_file_is_a_typed_error_that_quotes_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(errors.TokenizerFileError, match=message) as caught:
        tokens.load_encoding(path, pattern=None if content.startswith(b"{") else "gpt2")
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_file_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(errors.TokenizerFileError, match="more than 67108864 bytes, which is the limit"):
        tokens.load_encoding(path, pattern="gpt2")
    entries = ",".join(f'"{i}":{i}' for i in range(2_000_001))
    path.write_text(f'{{"model":{{"vocab":{{{entries}}}}}}}')
    with pytest.raises(errors.TokenizerFileError, match="more than 2000000 tokens, which is the limit"):
        tokens.load_encoding(path)


def test_arguments_that_do_not_fit_the_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine", ranks(300))
    with pytest.raises(errors.TokenizerFileError, match="give a pattern"):
        tokens.load_encoding(path)
    with pytest.raises(errors.UnknownName, match='unknown pattern "gpt3"; known: o200k'):
        tokens.load_encoding(path, pattern="gpt3")
    with pytest.raises(errors.TokenizerFileError, match="the id 5 of a special token is that of another token too"):
        tokens.load_encoding(path, pattern="gpt2", special_tokens={"<|end|>": 5})
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(byte_level()))
    for options in ({"pattern": "gpt2"}, {"special_tokens": {"<|end|>": 500}}):
        with pytest.raises(errors.TokenizerFileError, match="its own pattern and special tokens"):
            tokens.load_encoding(file, **options)  # type: ignore[arg-type]
    assert tokens.load_encoding(file, name="mine").name == "mine"
    for wrong in (5, None, b"\0"):
        with pytest.raises((TypeError, ValueError)):
            tokens.load_encoding(wrong)  # type: ignore[arg-type]


def test_a_path_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        tokens.load_encoding(tmp_path / "absent", pattern="gpt2")
    assert Path(caught.value.filename) == tmp_path / "absent"
    with pytest.raises(IsADirectoryError):
        tokens.load_encoding(str(tmp_path), pattern="gpt2")
