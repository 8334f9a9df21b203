from .losses import compare_losses as compare_losses
from .systems import compare_systems as compare_systems
from .training_setup import TrainingSetup as TrainingSetup
