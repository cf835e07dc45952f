"""``python -m sparecall.batch.sim``."""

from __future__ import annotations

import sys

from sparecall.batch.sim.command import main

sys.exit(main())
