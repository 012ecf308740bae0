"""What is decided: from deployment.yaml to the next numbered release."""
