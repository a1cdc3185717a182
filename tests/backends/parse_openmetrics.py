# SPDX-License-Identifier: Apache-2.0
"""Reads OpenMetrics text on standard input with Prometheus' own parser and prints what it holds as JSON: a list of
[family, type, sample, labels, value, exemplar labels or null].   (with the python of tests/venv)"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

json.dump([[f.name, f.type, s.name, s.labels, s.value, s.exemplar.labels if s.exemplar else None]
           for f in text_string_to_metric_families(sys.stdin.read()) for s in f.samples], sys.stdout)
