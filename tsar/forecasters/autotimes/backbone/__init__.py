"""Language models as bodies of forecasters: token vectors in, hidden states out.

The only part of tsar that touches transformers, which is imported when a body is first loaded.
"""

from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.identity import Identity
from tsar.forecasters.autotimes.backbone.loading import load_backbone
from tsar.forecasters.autotimes.backbone.options import BackboneOptions
from tsar.forecasters.autotimes.backbone.texts import embed_texts

__all__ = ["Backbone", "BackboneOptions", "Identity", "embed_texts", "load_backbone"]
