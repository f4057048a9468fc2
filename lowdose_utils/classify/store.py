"""Classifiers in files that hold no program: a zip of a JSON header and scikit-learn's model by skops."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from skops import io

import lowdose_utils
from lowdose_utils.classify.classifier import PixelClassifier
from lowdose_utils.classify.features import names
from lowdose_utils.classify.selection import FeatureSet
from lowdose_utils.classify.solid import Selection, SolidFeatures
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path
from lowdose_utils.readers.stack import reading

FORMAT = 1
SELECTIONS: dict[str, type[Selection]] = {"FeatureSet": FeatureSet, "SolidFeatures": SolidFeatures}
HEADER, MODEL = "classifier.json", "model.skops"
TRUSTED = [
    # The trees' arrays, which skops asks about because compiled code reads them. It trusts the rest itself.
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]


def save_classifier(path: str | Path, classifier: PixelClassifier) -> Path:
    """Write a classifier, whole or not at all: model, feature names and settings, versions, checksum."""
    path = Path(path)
    model = io.dumps(classifier.model)
    header = {
        "format": FORMAT,
        "selection": type(classifier.features).__name__,
        "features": asdict(classifier.features),
        "feature_names": names(classifier.features),
        "class_names": list(classifier.class_names),
        "fingerprint": classifier.fingerprint,
        "oob_accuracy": classifier.oob_accuracy,
        "scikit-learn": sklearn.__version__,
        "lowdose_utils": lowdose_utils.__version__,
    }
    header["sha256"] = _checksum(header, model)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(HEADER, json.dumps(header, indent=1))
        file.writestr(MODEL, model)
    return path


def load_classifier(path: str | Path, *, features: Selection | None = None) -> PixelClassifier:
    """Read a classifier that `save_classifier` wrote.

    No code from the file is run: skops builds only types that it or this module lists. The checksum shows
    damage and careless changes, not the work of someone who computes it anew.

    Parameters
    ----------
    path : str or Path
    features : FeatureSet or SolidFeatures, optional
        The selection that is wanted; any if not given.

    Raises
    ------
    LowdoseError
        If the file is missing, damaged, changed or no such file; if it holds a type that is not listed; if
        its channels are not those wanted, or not what this version of the package computes for them; or if
        another minor version of scikit-learn wrote it.
    """
    path = Path(path)
    with reading(path, "a classifier written by save_classifier"):
        with zipfile.ZipFile(path) as file:
            header: dict[str, Any] = json.loads(file.read(HEADER))
            model_bytes = file.read(MODEL)
        checksum = header.pop("sha256")
    if checksum != _checksum(header, model_bytes):
        _refuse(
            path, "content that does not fit its checksum", "an unchanged file", "Copy or fetch it again."
        )
    if header["format"] != FORMAT:
        _refuse(path, f"format {header['format']}", FORMAT, "Take the package's version that wrote it.")
    if _minor(header["scikit-learn"]) != _minor(sklearn.__version__):
        _refuse(
            path,
            f"a model of scikit-learn {header['scikit-learn']}",
            f"{_minor(sklearn.__version__)}, the version installed here; others may read it wrongly",
            f"Install scikit-learn {header['scikit-learn']}, or train again on the same scribbles.",
        )
    with reading(path, "feature settings that this version of the package knows"):
        settings: dict[str, Any] = header["features"]
        settings |= {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
        # Files from before there were features of volumes do not say which they hold.
        stored = SELECTIONS[header.get("selection", "FeatureSet")](**settings)
    there, now = header["feature_names"], names(stored)
    _compare(path, there, now, "Take the package's version that wrote it, or train again.")
    if features is not None:
        _compare(path, there, names(features), "Load it without features=, or train with this selection.")
        if _unnamed(stored) != _unnamed(features):
            _refuse(path, _unnamed(stored), _unnamed(features), "Train with this selection.")
    with reading(path, "a scikit-learn forest or boosted model, and no other type"):
        model = io.loads(model_bytes, trusted=TRUSTED)
    if not isinstance(model, RandomForestClassifier | HistGradientBoostingClassifier):
        _refuse(path, type(model).__name__, "a forest or a boosted model", "Train again.")
    return PixelClassifier(
        model, stored, tuple(header["class_names"]), header["fingerprint"], header["oob_accuracy"]
    )


def _unnamed(features: Selection) -> str:
    """What channels depend on, besides their names."""
    if isinstance(features, SolidFeatures):
        return f"aspect {features.aspect}"
    return f"compat {features.compat}"


def _compare(path: Path, there: list[str], wanted: list[str], way_out: str) -> None:
    """Refuse other channels, naming the first that differs."""
    for place, (one, other) in enumerate(zip(there, wanted, strict=False)):
        if one != other:
            _refuse(path, f"{one} as channel {place}", other, way_out)
    if len(there) != len(wanted):
        longer = max(there, wanted, key=len)
        rest = f"{longer[min(len(there), len(wanted))]} as the first that only one has"
        _refuse(path, f"{len(there)} channels, {rest}", f"{len(wanted)} channels", way_out)


def _refuse(path: Path, found: object, expected: object, way_out: str) -> None:
    raise LowdoseError(f"classifier {path}", found=found, expected=expected, way_out=way_out)


def _checksum(header: dict[str, Any], model: bytes) -> str:
    rest = {name: value for name, value in header.items() if name != "sha256"}
    return sha256(json.dumps(rest, sort_keys=True).encode() + model).hexdigest()


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
