"""The explanation of one image, as shown by `adn explain`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from adnlib.errors import AdnError
from adnlib.experiments.runs import Run
from adnlib.explain.maps import deviation_map, grad_cam, gradient_map, stretched
from adnlib.explain.measures import auroc_within, energy_inside, pointing_game
from adnlib.imagesets.reading import Sample
from adnlib.plots import map_panels


def explain_image(run: Run, sample: Sample) -> tuple[Figure, pd.DataFrame]:
    """Where a run's model looks in one image: a figure of its maps, and a table with a row for each map.

    Columns: score and threshold of the run; x, y: the position of the map's largest value (px of the image); top_tenth:
    the share of the map's sum that lies in the tenth of the image with the largest values; with a mask also
    auroc_within, pointing_game and energy_inside. Without the run's data set there is no deviation map.
    """
    model = run.model()
    size = model.preset.image_size
    height, width = sample.image.shape[-2:]
    x = sample.read(size)[None]
    maps = {"Grad-CAM conv5": grad_cam(model, x, stretch=False), "gradient map": gradient_map(model, x, stretch=False)}
    try:
        maps["deviation conv3"] = deviation_map(model, x, run.dataset().train[:24].images(size), stretch=False)
    except AdnError as error:
        print(f"no deviation map: {error}")
    mask = None
    if (pixels := sample.mask_at(size)) is not None:
        mask = pixels.numpy()[None]  # (1, S, S)
    score, threshold = model.anomaly_score(x).item(), run.facts["metrics"]["threshold"]
    table = []
    for name, values in maps.items():
        m = values.numpy()
        down, across = divmod(int(m.argmax()), size)
        row = {"score": score, "threshold": threshold, "map": name}
        row |= {"x": across * width // size, "y": down * height // size}
        row["top_tenth"] = float(np.sort(m, axis=None)[-m.size // 10 :].sum() / max(m.sum(), 1e-30))
        if mask is not None:
            row |= {f.__name__: float(f(m, mask)[0]) for f in (auroc_within, pointing_game, energy_inside)}
        table.append(row)
    found = "above" if score > threshold else "not above"
    heading = f"{run.variant}: score {score:.3g}, {found} the threshold {threshold:.3g}"
    drawn = {name: stretched(values) for name, values in maps.items()}
    return map_panels(x, mask, drawn, [sample.path.name], heading), pd.DataFrame(table)
