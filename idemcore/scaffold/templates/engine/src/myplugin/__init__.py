"""An engine for idem's sweeps: processes of this machine."""
