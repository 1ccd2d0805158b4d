"""Figures. Each function returns a matplotlib figure with a title and units. `show` displays it with an alternative
text. Blue is normal and orange is anomalous, two colours that colour-blind readers can tell apart."""

from adnlib.plots.calibration import calibrated_scores, p_value_histograms, promise
from adnlib.plots.charts import bars, dots, histograms, lines, map_grid
from adnlib.plots.comparisons import auroc_intervals, forest, inflation, matrix, paper_table
from adnlib.plots.curves import learning_curves, roc_curves, score_histogram
from adnlib.plots.differnet import collapse, gated_features, pipeline, view_counts
from adnlib.plots.flows import coupling_block, draw_lines, plane_maps
from adnlib.plots.images import disagreements, image_grid, scored_images, tour, worst_and_best
from adnlib.plots.maps import anomaly_maps, gate_maps, localisation_chart, localisation_matrix, map_panels
from adnlib.plots.scores import distance_contours, roc_staircase, threshold_effect
from adnlib.plots.style import (
    ANOMALOUS_COLOUR,
    LINE_STYLES,
    NORMAL_COLOUR,
    PALETTE,
    STYLE,
    mark_weights,
    short_name,
    show,
    table,
)

__all__ = [
    "ANOMALOUS_COLOUR",
    "LINE_STYLES",
    "NORMAL_COLOUR",
    "PALETTE",
    "STYLE",
    "anomaly_maps",
    "auroc_intervals",
    "bars",
    "calibrated_scores",
    "collapse",
    "coupling_block",
    "disagreements",
    "distance_contours",
    "dots",
    "draw_lines",
    "forest",
    "gate_maps",
    "gated_features",
    "histograms",
    "image_grid",
    "inflation",
    "learning_curves",
    "lines",
    "localisation_chart",
    "localisation_matrix",
    "map_grid",
    "map_panels",
    "mark_weights",
    "matrix",
    "p_value_histograms",
    "paper_table",
    "pipeline",
    "plane_maps",
    "promise",
    "roc_curves",
    "roc_staircase",
    "score_histogram",
    "scored_images",
    "short_name",
    "show",
    "table",
    "threshold_effect",
    "tour",
    "view_counts",
    "worst_and_best",
]
