"""The paper's study in one command: a plan of cells, a runner that resumes, results that tables read."""
