//go:build tools

// Package tools pins Loki and its command line client.
package tools

import (
	_ "github.com/grafana/loki/v3/cmd/logcli"
	_ "github.com/grafana/loki/v3/cmd/loki"
)
