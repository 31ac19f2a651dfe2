"""Token mixers on packed tokens, by name; importing this package registers all of them."""

from ponet.mixers.attention import AttentionMixer
from ponet.mixers.base import Mixer, build_mixer, mixer_names, mixer_title, register_mixer, takes_padded
from ponet.mixers.external import ExternalMixer
from ponet.mixers.fourier import FourierMixer
from ponet.mixers.linear import LinearMixer
from ponet.mixers.linformer import LinformerMixer
from ponet.mixers.lsh import LSHMixer
from ponet.mixers.nystrom import NystromMixer
from ponet.mixers.performer import PerformerMixer
from ponet.mixers.pooling import PoolingMixer

__all__ = [
    "AttentionMixer",
    "ExternalMixer",
    "FourierMixer",
    "LSHMixer",
    "LinearMixer",
    "LinformerMixer",
    "Mixer",
    "NystromMixer",
    "PerformerMixer",
    "PoolingMixer",
    "build_mixer",
    "mixer_names",
    "mixer_title",
    "register_mixer",
    "takes_padded",
]
