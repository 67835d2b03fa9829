"""Array functions below the layers, on channels-last arrays. None of them knows a layer class."""
