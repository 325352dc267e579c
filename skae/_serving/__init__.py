"""What a saved model computes, in NumPy alone: no torch, no scikit-learn, no scipy."""
