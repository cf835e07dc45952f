"""`sparecall demo`: an agent's working day over real source text, answered with and without a cache by a simulated provider."""
