"""Dead letters: the commands about them, and what each source makes of them."""
