"""What the literature says, as trainings on real data: seconds long, and true for every seed."""
