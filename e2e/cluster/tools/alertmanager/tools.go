//go:build tools

// Package tools pins Alertmanager, in a module of its own because Prometheus
// asks for a newer one: from 0.32 on it embeds web assets that its module does
// not carry.
package tools

import (
	_ "github.com/prometheus/alertmanager/cmd/alertmanager"
	_ "github.com/prometheus/alertmanager/cmd/amtool"
)
