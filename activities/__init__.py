"""The steps of the sagas, one side effect each; everything they need comes through the constructor."""
