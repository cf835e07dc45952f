"""Trims what the model need not read: messages in, fewer tokens out, and a conversation its provider accepts."""
