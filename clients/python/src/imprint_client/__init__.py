"""Client for Imprint: examples in, predictions out."""

from ._async import AsyncImprint
from ._errors import ImprintError
from ._inputs import image
from ._models import (
    Adaptation,
    Adapter,
    Added,
    BulkLine,
    BulkPrediction,
    Event,
    Example,
    Prediction,
    Predictions,
    Span,
    Task,
)
from ._sync import Imprint
from ._webhooks import NotGenuine, verify_webhook

__all__ = [
    "Adaptation",
    "Adapter",
    "Added",
    "AsyncImprint",
    "BulkLine",
    "BulkPrediction",
    "Event",
    "Example",
    "Imprint",
    "ImprintError",
    "NotGenuine",
    "Prediction",
    "Predictions",
    "Span",
    "Task",
    "image",
    "verify_webhook",
]
