"""Value types and file formats that the parts of marloft share; data only, no behaviour."""
