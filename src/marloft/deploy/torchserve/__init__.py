"""TorchServe's management API: models, versions and workflows."""
