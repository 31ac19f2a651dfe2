"""Trained models as ONNX files, in float32 or int8, with what runs them where neither torch nor ponet is."""
