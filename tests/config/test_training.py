"""What the `training` section checks beyond each option by itself."""

import pytest

from ponet.config.training import TrainingOptions
from ponet.utils.errors import PoNetError


def test_batches_need_a_limit() -> None:
    with pytest.raises(PoNetError, match="both are null"):
        TrainingOptions(batch_tokens=None, batch_size=None)
