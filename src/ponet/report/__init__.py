"""Result files to tables: on the terminal, as Markdown, and in the README between markers."""
