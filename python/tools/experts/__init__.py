"""The experts of a model of Hugging Face transformers through ragdot, beside its own implementations."""
