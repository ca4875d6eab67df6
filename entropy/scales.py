"""The levels of scale that an index selects: sigma_t = exp(LOG_SCALE_MIN + LOG_SCALE_STEP t), t in 0..63."""

from __future__ import annotations

import math

SCALE_LEVELS = 64
SCALE_MIN = 0.05
SCALE_MAX = 256.0
LOG_SCALE_MIN = math.log(SCALE_MIN)
LOG_SCALE_STEP = (math.log(SCALE_MAX) - LOG_SCALE_MIN) / (SCALE_LEVELS - 1)
