"""From mask to verdict, without torch."""
