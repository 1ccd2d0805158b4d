// P-values and thresholds from calibration scores, as in adnlib/calibration.py.

// p = (1 + number of calibration scores >= score) / (N + 1)
export function pValue(score, calibration) {
  return (1 + calibration.filter((other) => other >= score).length) / (calibration.length + 1);
}

// The k-th largest calibration score with k = floor(rate (N + 1)), at least the largest. promised: whether there are
// enough calibration images for the rate.
export function ruleFor(calibration, rate) {
  const n = calibration.length;
  const k = Math.min(Math.max(1, Math.floor(rate * (n + 1) + 1e-9)), n);
  const threshold = [...calibration].sort((a, b) => b - a)[k - 1];
  return { threshold, k, n, promised: n >= Math.ceil(1 / rate - 1e-9) - 1 };
}
