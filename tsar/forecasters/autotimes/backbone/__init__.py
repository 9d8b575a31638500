"""Language models as backbones: token embeddings in, hidden states out.

The only part of tsar that uses transformers, which is imported when a backbone is first loaded.
"""

from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.fingerprint import Fingerprint
from tsar.forecasters.autotimes.backbone.loading import load_backbone
from tsar.forecasters.autotimes.backbone.options import BackboneOptions
from tsar.forecasters.autotimes.backbone.text_embeddings import embed_texts

__all__ = ["Backbone", "BackboneOptions", "Fingerprint", "embed_texts", "load_backbone"]
