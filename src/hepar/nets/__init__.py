"""Encoder/decoder networks on plain arrays (torch).

Every network takes float32 (batch, 1 or 3, y, x) grey values 0..255, not
normalised, and gives logits (batch, class, y, x) on exactly the input's y, x.
Settings are frozen dataclasses (`CdnnAlex`, `CdnnResnet18`, `CdnnSqueeze`)
with `build(seed)`; `weights.load_encoder_weights` fills the encoder.
"""
