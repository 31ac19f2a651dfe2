"""`TokenizerTesterMixin` and `TokenizersBackendTesterMixin` on the tokenizer of the bundled checkpoint."""

import tempfile
import unittest
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

from transformers import BertTokenizer
from transformers_tests.test_tokenization_common import TokenizerTesterMixin
from transformers_tests.test_tokenizers_backend_mixin import TokenizersBackendTesterMixin

from ponet import PoNetTokenizer, checkpoint

FOLDER = checkpoint()
BERT = BertTokenizer.from_pretrained(FOLDER)
TEXT = TokenizerTesterMixin.integration_test_input_string


class TokenizerTest(TokenizerTesterMixin, unittest.TestCase):
    tokenizer_class = PoNetTokenizer
    from_pretrained_id = FOLDER
    space_between_special_tokens = True
    test_seq2seq = False
    # segments apart, PoNet's is BERT's tokenizer
    integration_expected_tokens = BERT.tokenize(TEXT)
    integration_expected_token_ids = BERT.encode(TEXT, add_special_tokens=False)
    integration_expected_decoded_text = BERT.decode(integration_expected_token_ids, clean_up_tokenization_spaces=False)

    @classmethod
    def setUpClass(cls) -> None:
        with tempfile.TemporaryDirectory() as folder:  # of a text that the suite reads and no test uses
            text = Path(folder, "fixtures", "sample_text.txt")
            text.parent.mkdir()
            text.touch()
            with patch("transformers_tests.test_tokenization_common.get_tests_dir", return_value=folder):
                super().setUpClass()


class TokenizersBackendTest(TokenizersBackendTesterMixin, unittest.TestCase):
    tokenizer_class = PoNetTokenizer
    from_pretrained_id = FOLDER
    from_pretrained_kwargs: ClassVar = {}
