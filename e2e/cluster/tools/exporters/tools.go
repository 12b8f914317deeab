//go:build tools

// Package tools pins the exporters that can be had as modules. The other ones
// that the operator runs come from Debian packages: see lib/debian.sh.
package tools

import (
	_ "github.com/prometheus/blackbox_exporter"
	_ "github.com/prometheus/node_exporter"
)
