"""What pre-training knows of a vocabulary."""

import pytest
from tests.tasks.pretraining.corpora import PIECES, vocabulary

from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.pretraining.vocabulary import Vocabulary, fingerprint
from ponet.utils.errors import PoNetError


def tokenizer(pieces=PIECES, **options):
    return PoNetTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, **options)


def test_ids():
    found = Vocabulary.of(tokenizer(["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "##", "#"]))
    assert (found.size, found.cls, found.sep, found.mask) == (10, 3, 4, 5)
    assert found.special.tolist() == [0, 2, 3, 4, 5]
    assert found.words.tolist() == [6, 7, 8, 9]  # nothing is replaced with a special token or a piece kept free
    assert [i for i, goes_on in enumerate(found.continues) if goes_on] == [7]


def test_what_cannot_serve():
    without_mask = tokenizer()
    without_mask.mask_token = None
    with pytest.raises(PoNetError, match="no mask_token: pre-training needs"):
        Vocabulary.of(without_mask)
    with pytest.raises(PoNetError, match="has no words"):
        Vocabulary.of(tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]))


def test_fingerprint(tmp_path):
    made = tokenizer()
    made.save_pretrained(tmp_path / "saved")
    assert fingerprint(PoNetTokenizer.from_pretrained(tmp_path / "saved")) == fingerprint(made)
    assert fingerprint(PoNetTokenizer(vocab=vocabulary(tmp_path / "vocab.txt"))) == fingerprint(made)
    others = [tokenizer(do_lower_case=False), tokenizer([*PIECES, "more"]), tokenizer([*PIECES[:-2], *PIECES[:-3:-1]])]
    assert len({fingerprint(each) for each in [made, *others]}) == 4
