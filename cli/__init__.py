"""The operator's terminal: `commands/<noun>` reads what was typed, `pages/<noun>` shows rows. It only translates."""
