"""`python -m particleseg_app.cli`: the command line of a program that is not installed."""

import sys

from particleseg_app.cli.main import main

sys.exit(main())
