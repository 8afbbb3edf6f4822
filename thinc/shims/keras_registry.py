"""keras_model_fns: factories of subclassed Keras models, by name.

A module of its own because catalogue is slow to import, and most programs never ask.
"""

from typing import Any

import catalogue

keras_model_fns: Any = catalogue.create("thinc", "keras", entry_points=True)
