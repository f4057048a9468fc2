"""Weights that the book brings along: whole, of known origin, and good for what the page says."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from guide_pages import ROOT, blocks

from lowdose_utils import measure
from lowdose_utils.data.registry import registry_dir
from lowdose_utils.errors import LowdoseError
from lowdose_utils.pretrained import load_pretrained, pretrained


@pytest.mark.parametrize("name", pretrained())
def test_weights_are_small_and_say_where_they_come_from(name) -> None:
    entry = pretrained()[name]
    assert entry.file.stat().st_size < 300_000
    assert hashlib.sha256(entry.file.read_bytes()).hexdigest() == entry.sha256
    origin = torch.load(entry.file, weights_only=True)["provenance"]
    assert (ROOT / "notebooks" / f"{origin['section']}.md").exists()
    assert origin["commit"] not in ("", "unknown") and origin["parameters"]["preset"]
    json.dumps(origin)


def test_the_demonstration_of_the_workshop_denoises_a_foam_that_was_not_learnt_from(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [block.text for block in blocks("../workshop") if "load_pretrained" in block.text]
    made: dict = {}
    exec(compile(code, "workshop.md", "exec"), made)
    truth = made["foam"].volume(128, 3)
    inside = measure.disc_mask(128, 59)

    def error(images):
        return np.mean((images - truth)[:, inside] ** 2)

    assert error(made["denoised"]) < error(made["noisy"]) / 2
    assert (tmp_path / "demonstration.png").exists()
    assert pretrained()["foam"].trained_on in capsys.readouterr().out


def test_a_file_that_is_not_the_registered_one_is_refused(tmp_path) -> None:
    shutil.copytree(registry_dir() / "weights", tmp_path / "weights")
    entries = yaml.safe_load((registry_dir() / "weights.yml").read_text())
    (tmp_path / "weights.yml").write_text(yaml.safe_dump(entries))
    name = next(iter(entries))
    assert load_pretrained(name, tmp_path).network
    with (tmp_path / "weights" / f"{name}.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(LowdoseError, match="SHA-256"):
        load_pretrained(name, tmp_path)
    (tmp_path / "weights" / f"{name}.pt").unlink()
    with pytest.raises(LowdoseError, match="no file"):
        load_pretrained(name, tmp_path)


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(LowdoseError, match="foam"):
        load_pretrained("brain")
