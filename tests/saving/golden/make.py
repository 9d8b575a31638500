"""Make the golden models of a format: python tests/saving/golden/make.py FOLDER.

The folders that it made stay as they are: that they still load is what the test checks.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tsar.forecasters import HMM, ARNet, AutoTimes, Classical, NLinear, SeasonalNaive, SpaceTime
from tsar.saving.folder import FORMAT
from tsar.training import Training


def main(folder: Path) -> None:
    noise = 0.2 * np.random.default_rng(0).normal(size=(60, 2))
    waves = 10 + np.sin(2 * np.pi * np.arange(60) / 12)[:, None] * [1.0, 3.0] + noise
    waves[20, 0] = np.nan
    training = Training(epochs=5, batch_size=16, validation=12.0)
    models = [
        SeasonalNaive(12, horizon=4),
        NLinear(12, horizon=4, training=training, device="cpu", random_state=0),
        ARNet(12, horizon=4, device="cpu"),
        SpaceTime(
            12, horizon=4, state_size=6, width=8, training=training, device="cpu", random_state=0
        ),
        AutoTimes(
            12,
            horizon=4,
            segment_length=4,
            backbone=None,
            depth=1,
            width=16,
            training=training,
            device="cpu",
            random_state=0,
        ),
        HMM(2, season_length=12, horizon=4, n_init=2, random_state=0),
        Classical(season_length=12, horizon=4),
    ]
    forecasts = {}
    for model in models:
        name = f"v{FORMAT}_{type(model).__name__}"
        model.fit(waves).save(folder / name)
        forecasts[name] = model.predict(level=50).tolist()
    (folder / "forecasts.json").write_text(json.dumps(forecasts, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
