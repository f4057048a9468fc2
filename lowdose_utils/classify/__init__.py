"""Trainable pixel classification: the feature stack of Trainable Weka Segmentation, by name.

Arganda-Carreras et al., Bioinformatics 33, 2424 (2017). `names` lists a selection's channels and `compute`
fills them.
"""

from lowdose_utils.classify.features import compute, names
from lowdose_utils.classify.selection import DEFAULT, FAMILIES, PAPER, FeatureSet

__all__ = ["DEFAULT", "FAMILIES", "PAPER", "FeatureSet", "compute", "names"]
