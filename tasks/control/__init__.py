"""Control of running workers by operators: pauses of vendors and kinds."""
