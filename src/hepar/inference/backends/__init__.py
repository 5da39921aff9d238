"""Engines behind one promise: a function from grey values to logits. Each is imported when asked for."""
