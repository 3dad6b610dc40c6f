"""The Python verbs: load, fit, evaluate, compare, doctor."""

from temporec.workflow.compare import compare
from temporec.workflow.experiment import ProtocolConfig
from temporec.workflow.fit import fit
from temporec.workflow.load import LoadConfig, load
from temporec.workflow.settings import Settings, apply_overrides
from temporec.workflow.verbs import doctor
from temporec.workflow.verbs import evaluate_folder as evaluate

__all__ = [
    "LoadConfig",
    "ProtocolConfig",
    "Settings",
    "apply_overrides",
    "compare",
    "doctor",
    "evaluate",
    "fit",
    "load",
]
