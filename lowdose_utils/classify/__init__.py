"""Trainable pixel classification: the feature stack of Trainable Weka Segmentation, by name, and its use.

Arganda-Carreras et al., Bioinformatics 33, 2424 (2017). `FeatureSet` selects among these features of images,
`SolidFeatures` among features of volumes. `names` lists a selection's channels and `compute` fills them.
`train_classifier` learns from scribbles, drawn (`label_image`), read from ImageJ (`read_rois`) or simulated
(`annotate`, `correct`); a `Session` keeps strokes and classifier through rounds of correction, and a `Panel`
puts it on the screen; `classify_volume` applies what it learned. The measures of class maps are in
`classify.measures`.
"""

from lowdose_utils.classify.annotator import annotate, correct
from lowdose_utils.classify.classifier import PixelClassifier
from lowdose_utils.classify.features import compute, names
from lowdose_utils.classify.panel import Panel
from lowdose_utils.classify.scribbles import Stroke, label_image, read_rois
from lowdose_utils.classify.selection import DEFAULT, FAMILIES, PAPER, FeatureSet
from lowdose_utils.classify.session import Session
from lowdose_utils.classify.solid import SOLID_FAMILIES, SolidFeatures
from lowdose_utils.classify.store import load_classifier, save_classifier
from lowdose_utils.classify.train import train_classifier
from lowdose_utils.classify.volume import classify_volume

__all__ = [
    "DEFAULT",
    "FAMILIES",
    "PAPER",
    "SOLID_FAMILIES",
    "FeatureSet",
    "Panel",
    "PixelClassifier",
    "Session",
    "SolidFeatures",
    "Stroke",
    "annotate",
    "classify_volume",
    "compute",
    "correct",
    "label_image",
    "load_classifier",
    "names",
    "read_rois",
    "save_classifier",
    "train_classifier",
]
