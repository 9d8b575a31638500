"""Language models as bodies of forecasters: token vectors in, hidden states out.

The only part of tsar that touches transformers, which is imported when a body is first loaded.
"""

from tsar.backbone.backbone import Backbone
from tsar.backbone.identity import Identity
from tsar.backbone.loading import load_backbone
from tsar.backbone.options import BackboneOptions
from tsar.backbone.texts import embed_texts

__all__ = ["Backbone", "BackboneOptions", "Identity", "embed_texts", "load_backbone"]
