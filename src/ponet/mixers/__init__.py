"""Token mixers on packed tokens, by name; importing this package registers all of them."""

from ponet.mixers.attention import AttentionMixer
from ponet.mixers.base import Mixer, build_mixer, mixer_names, register_mixer
from ponet.mixers.fourier import FourierMixer
from ponet.mixers.pooling import PoolingMixer

__all__ = ["AttentionMixer", "FourierMixer", "Mixer", "PoolingMixer", "build_mixer", "mixer_names", "register_mixer"]
