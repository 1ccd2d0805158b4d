"""Where a model looks: maps over the image, and measures of how well they find a defect."""
