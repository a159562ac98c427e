"""Networks that others have trained, in minidl's own layers."""
